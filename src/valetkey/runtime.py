"""The runtime: the objects that are created once for each app and that its endpoints share. Independent of Flask."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .activity.background import BackgroundThread
from .activity.last_used import LastUsedBuffer
from .activity.usage import UsageBuffer
from .caches.authenticated_session import AuthenticatedSession
from .caches.change_feed import ChangeFeed
from .caches.client_metadata_documents import ClientMetadataDocumentCache
from .caches.clients import ClientCache
from .caches.origins import OriginCache
from .caches.owners import OwnerCache
from .caches.plans import PlanCache
from .caches.recently_issued import RecentlyIssued
from .caches.resources import ResourceCache
from .caches.two_generation import TwoGenerationCache
from .outbound.cached_fetch import Freshness
from .outbound.fetch_limits import WaitLimit
from .outbound.http import Fetcher
from .outbound.images import RemoteImages
from .outbound.remote_keys import RemoteKeys
from .outbound.worker import Worker
from .protocol.errors import TooManyRequests
from .protocol.resource_owner import ResourceOwners, SupportsSignOut
from .rate_limiting.address import caller_network
from .rate_limiting.admission import Admission, PlanLimits
from .rate_limiting.counters import Counters
from .rate_limiting.limit import parse_limit
from .rate_limiting.limit_settings import parse_limits
from .rate_limiting.limiter import Limiter
from .rate_limiting.quota_counter import Quotas
from .rate_limiting.redis_counters import RedisCounters
from .rate_limiting.sql_counters import SqlCounters, SqliteCounters
from .settings import Settings
from .storage.change_feed import ChangeFeedEntry
from .storage.engine.clock import store_clock
from .storage.engine.open import open_store, sqlite_path
from .storage.engine.statement import BoundStatement
from .storage.engine.transaction import StoreUnavailable, Transaction
from .storage.grants import AuthorizationCode, Grant
from .storage.refresh_tokens import RefreshToken
from .storage.schema import check_schema, schema_version, upgrade_schema
from .tokens.encryption import Cipher
from .tokens.generator import TokenGenerator
from .tokens.key_ring import KeyRing
from .tokens.key_rotation import create_initial_keys
from .tokens.personal_access_tokens import PersonalAccessTokenVerifier
from .tokens.verifier import AccessTokenVerifier

_DOCUMENT_FETCH_LIMIT = parse_limit("60/minute burst 60")  # client metadata documents fetched from one host
_MAX_AUTHENTICATED_SESSIONS, _MAX_RECENTLY_ISSUED = 1_000, 1_000
# Concurrent fetches of what clients publish (metadata, keys, logos). `valetkey serve` handles 16 requests at once, so
# slow clients cannot block all of them.
_MAX_CONCURRENT_FETCHES = 4
# Short intervals: a client may sign with a new key as soon as it has published it.
_CLIENT_KEYS_FRESHNESS = Freshness(min_interval_s=10, retry_interval_s=10, max_stale_s=3600)
_log = logging.getLogger("valetkey")


class Runtime:
    """The shared objects of one app: settings, database, signing keys, caches, rate limits, background job handlers.

    Creating a runtime does no I/O; call ``get_ready`` once in each process before using it.

    :param settings: the settings of the app, already checked.
    :param owners: the accounts of users: the host app's, or Valetkey's own.
    :param clock: returns the current time in seconds since 1970.
    """

    def __init__(self, settings: Settings, owners: ResourceOwners, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.owners = owners
        self.store = open_store(settings.store_url)
        self.clock = store_clock(self.store, clock)
        self.cipher = Cipher(settings)
        self.feed = ChangeFeed(self.store, accept_outage=settings.revocation_outage == "accept")
        self.keys = KeyRing(self.store, self.cipher)
        self.resources = ResourceCache(settings, self.store)
        self.token_generator = TokenGenerator(settings, self.keys, self.resources)
        self.owner_cache = OwnerCache(owners.find, self.feed, lambda: self.has_built_in_accounts)
        self.recent_codes: RecentlyIssued[tuple[AuthorizationCode, Grant]] = RecentlyIssued(_MAX_RECENTLY_ISSUED)
        self.recent_refresh_tokens: RecentlyIssued[tuple[RefreshToken, Grant]] = RecentlyIssued(_MAX_RECENTLY_ISSUED)
        self.authenticated_sessions: TwoGenerationCache[AuthenticatedSession] = TwoGenerationCache(
            _MAX_AUTHENTICATED_SESSIONS
        )
        personal_verifier = PersonalAccessTokenVerifier(settings, self.store, self._is_active_owner)
        self.verifier = AccessTokenVerifier(settings, self.store, self.keys, self.feed, personal_verifier)
        self.limits, self.plan_budgets = parse_limits(settings)
        self.limiter = Limiter(_make_counters(self))
        self.background = BackgroundThread()
        self.last_used = LastUsedBuffer(self.store, self.background)
        self.usage = UsageBuffer(self.store, self.background)
        self.quotas = Quotas(self.store, lambda: self.clock(), self.background.ensure_running)
        self.background.add(self.quotas.return_idle_slices, at_exit=self.quotas.return_all_slices)
        self.subscriptions = PlanCache(self.store, self.feed, settings.plans, settings.default_plan)
        plans = PlanLimits(self.plan_budgets, settings.default_plan, self.subscriptions.get_plan_name, self.quotas)
        self.admission = Admission(self.limiter, plans, fields_style=settings.rate_limit_fields)
        self.fetcher = Fetcher(settings.outbound_networks, settings.outbound_ca_file, self.clock)
        # Handlers of outbox jobs, by kind of job. The worker has its own handler for "mail".
        self.job_handlers: dict[str, Callable[[Mapping[str, Any]], None]] = {}
        # Tasks that the worker runs once an hour, in addition to pruning tables.
        self.hourly_tasks: list[Callable[[], object]] = [self._prune_limits]
        # Context in which code of the host app is called outside a request.
        self.app_context: Callable[[], AbstractContextManager[object]] = nullcontext
        self.has_built_in_accounts = False
        # Metadata responses by endpoint name, each with the inputs it was built from.
        self.metadata_responses: dict[str, tuple[object, Any]] = {}
        # Claims and the time when they were read, by owner and scope.
        self.claims_cache: dict[tuple[str, frozenset[str]], tuple[Mapping[str, Any], float]] = {}
        # Claims requested by name (OpenID Connect Core §5.5), by grant.
        self.requested_claims_cache: dict[str, frozenset[str]] = {}
        self.build_openapi_document: Callable[[], dict[str, Any]] = dict
        self.fetch_slot = WaitLimit(_MAX_CONCURRENT_FETCHES).acquire
        self.remote_keys = RemoteKeys(self.fetcher, lambda: self.clock(), _CLIENT_KEYS_FRESHNESS, self.fetch_slot)
        self.images = RemoteImages(self.fetcher, lambda: self.clock(), self.fetch_slot)
        self.client_metadata_documents = ClientMetadataDocumentCache(
            self.fetcher,
            settings.known_scopes.keys(),
            self._admit_document_fetch,
            self.fetch_slot,
            allow_http_loopback=not settings.is_production,
        )
        self.clients = ClientCache(self.store, self.feed, self.client_metadata_documents, settings.metadata_documents)
        self.origins = OriginCache(self.store, self.feed)
        self.on_store_created: list[Callable[[Runtime], None]] = []
        self.is_ready = False
        self._ready_lock = threading.Lock()
        self._stop = threading.Event()
        self._worker_thread: threading.Thread | None = None
        self.feed.add_listener(self._on_change)

    def get_ready(self) -> None:
        """Check the schema of the database; create a SQLite database, with its keys, if there is none.

        Also starts the worker thread if the setting ``embedded_worker`` is true. Later calls do nothing.

        :raises StoreUnavailable: if the database does not respond, or its schema is older or newer than this code
            needs; the message says what to do.
        """
        with self._ready_lock:
            if self.is_ready:
                return
            path = sqlite_path(self.settings.store_url)
            if path is not None and (not path.exists() or schema_version(self.store) is None):
                prepare_store(self)
            check_schema(self.store)
            self.is_ready = True
            if self.settings.embedded_worker:
                self.start_worker()

    def start_worker(self) -> None:
        """Start a thread that sends queued mail and logout tokens, and runs hourly tasks.

        If several processes have such a thread, only one of them works at a time.
        """
        self._stop, run = threading.Event(), self.make_worker().run
        self._worker_thread = threading.Thread(target=run, args=(self._stop,), name="valetkey-worker", daemon=True)
        self._worker_thread.start()

    def make_worker(self) -> Worker:
        """Return a worker for this app, not started: it sends queued mail and logout tokens, and runs hourly tasks."""
        return Worker(self.settings, self.store, self.clock, self.job_handlers, self.hourly_tasks)

    def write(self, transaction: Transaction) -> bool:
        """Execute a transaction and return whether its condition was met, so that its ``rows`` were written.

        A transaction without a condition is always written. If the condition is not met, its ``else_rows`` are written
        instead, and this process rereads the list of changes in the database before it next uses its caches.
        """
        was_written = self.store.write(transaction)
        if not was_written and transaction.else_rows:
            self.feed.invalidate()
        return was_written

    def revoke(self, *rows: BoundStatement) -> None:
        """Execute statements that revoke something, in one transaction.

        This process applies the revocations at once, other processes when they next poll the database for changes.
        """
        self.store.write(Transaction(rows=rows))
        self.feed.invalidate()

    @property
    def supports_sign_out(self) -> bool:
        """Whether Valetkey can sign users out: accounts are its own, or the host app's accounts have ``sign_out()``."""
        return isinstance(self.owners, SupportsSignOut)

    @property
    def revocation_expiry(self) -> float:
        """Time, in seconds since 1970, when a revocation that is written now may be deleted.

        All access tokens that the revocation applies to have expired by then.
        """
        return self.clock() + self.settings.access_token_lifetime + 120

    def charge(self, limit_setting: str, key: str, now: float) -> None:
        """Count one call of an OAuth endpoint by an authenticated caller against a rate limit.

        If the counter backend is unavailable, the call is allowed: an authenticated caller is not guessing secrets, and
        issuing tokens is more important than counting them.

        :param limit_setting: name of the setting that has the limit, such as ``userinfo_limit``.
        :param key: identifier of the caller whose calls are counted, such as a ``client_id``.
        :param now: the current time in seconds since 1970.
        :raises TooManyRequests: if the limit is exceeded.
        """
        try:
            result = self.limiter.spend(f"{limit_setting}|{key}", self.limits[limit_setting], now)
        except StoreUnavailable as cause:
            self.admission.fail_open(True, cause, now)
            return
        if not result.is_admitted:
            raise TooManyRequests(
                "too many requests", retry_after=result.retry_after, log_detail=f"{limit_setting} of {key}"
            )

    def charge_failed_authentication(self, address: str | None, now: float) -> None:
        """Count one failed client authentication against the rate limit of the caller's network.

        :param address: the caller's IP address; ``None`` if unknown.
        :param now: the current time in seconds since 1970.
        :raises TooManyRequests: if too many client authentications from this network have failed.
        """
        limit = self.limits["client_authentication_limit"]
        result = self.limiter.spend(f"client:{caller_network(address)}", limit, now)
        if not result.is_admitted:
            raise TooManyRequests("too many failed client authentications", retry_after=result.retry_after)

    def _is_active_owner(self, sub: str) -> bool:
        return self.owners.find(sub) is not None

    def _prune_limits(self) -> None:
        self.limiter.prune(self.clock())

    def _admit_document_fetch(self, host: str, now: float) -> bool:
        return self.limiter.spend(f"document:{host}", _DOCUMENT_FETCH_LIMIT, now).is_admitted

    def close(self) -> None:
        """Stop the worker and the background thread, and close the connections to database and Redis.

        Waits for the worker to finish, 5 seconds at most.
        """
        self._stop.set()
        if self._worker_thread is not None:
            self._worker_thread.join(timeout=5)
        self.background.close()
        self.limiter.close()
        self.store.close()

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind == "changed" and entry.subject == "keys":
            self.keys.invalidate_cache()
            self.verifier.invalidate_cache()
        elif entry.kind == "changed" and entry.subject == "resources":
            self.resources.invalidate()


def prepare_store(runtime: Runtime) -> bool:
    """Create or upgrade the tables, create the first signing keys if there are none, and register built-in clients.

    The clients are registered by the functions in ``runtime.on_store_created``.

    :returns: whether signing keys were created.
    :raises StoreUnavailable: if the database cannot be reached or written.
    """
    upgrade_schema(runtime.settings.store_url)
    has_new_keys = create_initial_keys(runtime.store, runtime.cipher, runtime.clock())
    runtime.keys.invalidate_cache()
    for on_created in runtime.on_store_created:
        on_created(runtime)
    return has_new_keys


def _make_counters(runtime: Runtime) -> Counters:
    if runtime.settings.redis_url:
        return RedisCounters(runtime.settings.redis_url)
    path = sqlite_path(runtime.settings.store_url)
    return SqliteCounters(path.with_suffix(".limits.db")) if path else SqlCounters(runtime.store)
