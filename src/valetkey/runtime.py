"""What lives as long as the app, and the dispatch of machine endpoints: no Flask here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .activity.background import Background
from .activity.last_used import LastUsed
from .activity.usage import Usage
from .caches.authenticated_session import Visit
from .caches.change_feed import RevocationFeed
from .caches.client_metadata_documents import MetadataDocuments
from .caches.clients import RegisteredClients
from .caches.origins import RegisteredOrigins
from .caches.owners import KnownOwners
from .caches.plans import Subscriptions
from .caches.recently_issued import JustIssued
from .caches.resources import Resources
from .caches.two_generation import TwoGenerationCache
from .outbound.bounds import Room
from .outbound.cached_fetch import Ages
from .outbound.http import Fetcher
from .outbound.images import RemoteImages
from .outbound.remote_keys import RemoteKeys
from .outbound.worker import Worker
from .protocol.errors import TooManyRequests
from .protocol.resource_owner import EndsSignIns, ResourceOwners
from .rate_limiting.address import network_of
from .rate_limiting.admission import Admission, Plans
from .rate_limiting.counters import Counters
from .rate_limiting.limit import parse_limit
from .rate_limiting.limit_settings import read_limits
from .rate_limiting.limiter import Limiter
from .rate_limiting.quotas import Quotas
from .rate_limiting.redis_counters import RedisCounters
from .rate_limiting.sql_counters import SqlCounters, SqliteCounters
from .settings import Settings
from .storage.engine.clock import store_clock
from .storage.engine.open import open_store, sqlite_path
from .storage.engine.statement import Bound
from .storage.engine.transaction import StoreUnavailable, Write
from .storage.grants import Code, Grant, RefreshToken
from .storage.revocations import Revocation
from .storage.schema import check_schema, schema_version, upgrade
from .tokens.encryption import Cipher
from .tokens.generator import TokenMint
from .tokens.key_ring import KeyRing
from .tokens.key_rotation import make_first_keys
from .tokens.personal_access_tokens import PersonalTokens
from .tokens.verifier import TokenJudge

_DOCUMENTS = parse_limit("60/minute burst 60")  # metadata documents fetched from one host
_MOST_VISITS, _MOST_ISSUED = 1_000, 1_000
_MOST_WAITING = 4  # requests at once, of the sixteen that `serve` answers, for what clients publish
_CLIENTS_KEYS = Ages(least=10, retry=10, stale=3600)  # a client may sign with a new key at once
_log = logging.getLogger("valetkey")


class Runtime:
    """The app's own world. Making one does no I/O; ``get_ready`` does, once in each process."""

    def __init__(self, settings: Settings, owners: ResourceOwners, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.owners = owners
        self.store = open_store(settings.store_url)
        self.clock = store_clock(self.store, clock)
        self.cipher = Cipher(settings)
        self.feed = RevocationFeed(self.store, accept_outage=settings.revocation_outage == "accept")
        self.keys = KeyRing(self.store, self.cipher)
        self.resources = Resources(settings, self.store)
        self.mint = TokenMint(settings, self.keys, self.resources)
        self.known_owners = KnownOwners(owners.find, self.feed, lambda: self.has_own_accounts)
        self.issued_codes: JustIssued[tuple[Code, Grant]] = JustIssued(_MOST_ISSUED)
        self.issued_refresh_tokens: JustIssued[tuple[RefreshToken, Grant]] = JustIssued(_MOST_ISSUED)
        self.visits: TwoGenerationCache[Visit] = TwoGenerationCache(_MOST_VISITS)
        personal = PersonalTokens(settings, self.store, self._is_known_owner)
        self.judge = TokenJudge(settings, self.store, self.keys, self.feed, personal)
        self.limits, self.plan_budgets = read_limits(settings)
        self.limiter = Limiter(_counters(self))
        self.background = Background()
        self.last_used = LastUsed(self.store, self.background)
        self.usage = Usage(self.store, self.background)
        self.quotas = Quotas(self.store, lambda: self.clock(), self.background.wake)
        self.background.add(self.quotas.give_back_idle, last=self.quotas.give_back_all)
        self.subscriptions = Subscriptions(self.store, self.feed, settings.plans, settings.default_plan)
        plans = Plans(self.plan_budgets, settings.default_plan, self.subscriptions.plan_of, self.quotas)
        self.admission = Admission(self.limiter, plans, fields=settings.rate_limit_fields)
        self.fetcher = Fetcher(settings.outbound_networks, settings.outbound_ca_file, self.clock)
        self.jobs: dict[str, Callable[[Mapping[str, Any]], None]] = {}  # what the worker does besides mail, by kind
        self.hourly: list[Callable[[], object]] = [self._prune_limits]  # what the worker does besides pruning
        self.within: Callable[[], AbstractContextManager[object]] = nullcontext  # in which a host's code may be called
        self.has_own_accounts = False
        self.documents_made: dict[str, tuple[object, Any]] = {}  # by name, with what each was made of
        self.told_claims: dict[tuple[str, frozenset[str]], tuple[Mapping[str, Any], float]] = {}  # by owner and scope
        self.wishes: dict[str, frozenset[str]] = {}  # claims asked for one by one, by grant
        self.api_document: Callable[[], dict[str, Any]] = dict  # makes the OpenAPI document of the app's routes
        self.waiting = Room(_MOST_WAITING).enter
        self.remote_keys = RemoteKeys(self.fetcher, lambda: self.clock(), _CLIENTS_KEYS, self.waiting)
        self.images = RemoteImages(self.fetcher, lambda: self.clock(), self.waiting)
        self.documents = MetadataDocuments(
            self.fetcher,
            settings.known_scopes.keys(),
            self._may_fetch_document,
            self.waiting,
            on_loopback=not settings.is_production,
        )
        self.clients = RegisteredClients(self.store, self.feed, self.documents, settings.metadata_documents)
        self.origins = RegisteredOrigins(self.store, self.feed)
        self.on_created: list[Callable[[Runtime], None]] = []
        self.is_ready = False
        self._getting_ready = threading.Lock()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self.feed.listen(self._heed)

    def get_ready(self) -> None:
        """Check the store's schema; an empty SQLite store is created with its keys.

        :raises StoreUnavailable: with the sentence that says what to do.
        """
        with self._getting_ready:
            if self.is_ready:
                return
            file = sqlite_path(self.settings.store_url)
            if file is not None and (not file.exists() or schema_version(self.store) is None):
                prepare_store(self)
            check_schema(self.store)
            self.is_ready = True
            if self.settings.embedded_worker:
                self.work_in_background()

    def work_in_background(self) -> None:
        """Start a thread that sends mail and prunes while this process holds the lease."""
        self._stop, run = threading.Event(), self.make_worker().run
        self._worker = threading.Thread(target=run, args=(self._stop,), name="valetkey-worker", daemon=True)
        self._worker.start()

    def make_worker(self) -> Worker:
        return Worker(self.settings, self.store, self.clock, self.jobs, self.hourly)

    def write(self, write: Write) -> bool:
        """Write what a use case decided; whether its claim was won."""
        won = self.store.write(write)
        if not won and write.otherwise:
            self.feed.expire()
        return won

    def revoke(self, *rows: Bound) -> None:
        """Write revocations, and see them in this process at once."""
        self.store.write(Write(rows=rows))
        self.feed.expire()

    @property
    def ends_sign_ins(self) -> bool:
        """Whether a person can be signed out here: always with accounts of ours, and where the host says how."""
        return isinstance(self.owners, EndsSignIns)

    @property
    def revocation_ends(self) -> float:
        """When a revocation written now may be forgotten: no token from before can be alive."""
        return self.clock() + self.settings.access_token_lifetime + 120

    def charge(self, setting: str, who: str, now: float) -> None:
        """Charge one call of an OAuth endpoint to the limit of that setting; whoever proved themselves is not guessing.

        While nobody can count, calls are let through: tokens matter more than their number.

        :raises TooManyRequests: where that was too often.
        """
        try:
            spent = self.limiter.spend(f"{setting}|{who}", self.limits[setting], now)
        except StoreUnavailable as problem:
            self.admission.let_through(True, problem, now)
            return
        if not spent.admitted:
            raise TooManyRequests("too many requests", retry_after=spent.retry_after, detail=f"{setting} of {who}")

    def spend_failed_authentication(self, address: str | None, now: float) -> None:
        """:raises TooManyRequests: where too many client authentications failed from this network."""
        spent = self.limiter.spend(f"client:{network_of(address)}", self.limits["client_authentication_limit"], now)
        if not spent.admitted:
            raise TooManyRequests("too many failed client authentications", retry_after=spent.retry_after)

    def _is_known_owner(self, sub: str) -> bool:
        return self.owners.find(sub) is not None

    def _prune_limits(self) -> None:
        self.limiter.prune(self.clock())

    def _may_fetch_document(self, host: str, now: float) -> bool:
        return self.limiter.spend(f"document:{host}", _DOCUMENTS, now).admitted

    def close(self) -> None:
        self._stop.set()
        if self._worker is not None:
            self._worker.join(timeout=5)
        self.background.close()
        self.limiter.close()
        self.store.close()

    def _heed(self, entry: Revocation) -> None:
        if entry.kind == "changed" and entry.subject == "keys":
            self.keys.forget()
            self.judge.forget()
        elif entry.kind == "changed" and entry.subject == "resources":
            self.resources.forget()


def prepare_store(runtime: Runtime) -> bool:
    """Create or upgrade the tables and make the first keys; whether keys were made.

    :raises StoreUnavailable: where the store cannot be reached or written.
    """
    upgrade(runtime.settings.store_url)
    made = make_first_keys(runtime.store, runtime.cipher, runtime.clock())
    runtime.keys.forget()
    for created in runtime.on_created:
        created(runtime)
    return made


def _counters(runtime: Runtime) -> Counters:
    if runtime.settings.redis_url:
        return RedisCounters(runtime.settings.redis_url)
    path = sqlite_path(runtime.settings.store_url)
    return SqliteCounters(path.with_suffix(".limits.db")) if path else SqlCounters(runtime.store)
