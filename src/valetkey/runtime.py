"""The runtime: the objects that are created once for each app and that its endpoints share. Independent of Flask."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from .activity.background import BackgroundThread
from .activity.failures import FailureBuffer
from .activity.usage import UsageBuffer
from .caches.authenticated_session import AuthenticatedSession
from .caches.change_feed import ChangeFeed
from .caches.client_metadata_documents import ClientMetadataDocumentCache
from .caches.clients import ClientCache
from .caches.origins import OriginCache
from .caches.owner_claims import OwnerClaimsCache
from .caches.owners import OwnerCache
from .caches.plans import PlanCache
from .caches.recently_issued import RecentlyIssued
from .caches.requested_claims import RequestedClaimsCache
from .caches.resources import ResourceCache
from .caches.two_generation import TwoGenerationCache
from .outbound.cached_fetch import Freshness
from .outbound.discovery import Discovery
from .outbound.fetch_limits import FetchSlots
from .outbound.http import Fetcher
from .outbound.images import RemoteImages
from .outbound.remote_keys import RemoteKeys
from .outbound.worker import JobHandler, Worker
from .outbound.worker_thread import WorkerThread
from .protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from .protocol.protected_resource import ProtectedResource
from .protocol.resource_owner import ResourceOwners, SupportsSignOut
from .rate_limiting.admission import Admission, PlanLimits
from .rate_limiting.limit_settings import parse_limits
from .rate_limiting.limiters import make_limiters
from .rate_limiting.named_limits import NamedLimits
from .rate_limiting.quota_counter import Quotas
from .settings import Settings
from .settings.sources import SettingsSources
from .storage import served_as
from .storage.engine.after_fork import call_after_fork
from .storage.engine.clock import store_clock
from .storage.engine.open import open_store, sqlite_path
from .storage.engine.transaction import StoreUnavailable
from .storage.grants import AuthorizationCode, Grant
from .storage.refresh_tokens import RefreshToken
from .storage.schema import check_schema, schema_version, upgrade_schema
from .tokens.encryption import Cipher
from .tokens.generator import TokenGenerator
from .tokens.key_ring import KeyRing
from .tokens.key_rotation import create_initial_keys
from .tokens.personal_access_tokens import PersonalAccessTokenVerifier
from .tokens.verifier import AccessTokenVerifier

_MAX_AUTHENTICATED_SESSIONS, _MAX_RECENTLY_ISSUED = 1_000, 1_000
# Short intervals: a client may sign with a new key as soon as it has published it.
_CLIENT_KEYS_FRESHNESS = Freshness(min_interval_s=10, retry_interval_s=10, max_stale_s=3600)
_PROVIDER_FRESHNESS = Freshness(min_interval_s=30, retry_interval_s=5, max_stale_s=86_400)
_log = logging.getLogger("valetkey")


class Runtime:
    """The shared objects of one app: settings, database, signing keys, caches, rate limits, background job handlers.

    Creating a runtime does no I/O; call ``get_ready`` once in each process before using it.

    :param settings: the settings of the app, already checked.
    :param owners: the accounts of users: the host app's, or Valetkey's own.
    :param clock: returns the current time in seconds since 1970.
    """

    _is_loaded_by_command = False  # while a command loads the app
    trusted_issuers: tuple[str, ...] = ()  # this server issues the access tokens itself

    def __init__(self, settings: Settings, owners: ResourceOwners, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.sources = SettingsSources()  # where the settings come from
        self.app_name = ""
        self.code_settings: frozenset[str] = frozenset()  # names of the settings in the code of the app
        self.owners = owners
        self.store = open_store(
            settings.store_url, pooler=settings.database_pooler, max_connections=settings.database_connections
        )
        self.clock = store_clock(self.store, clock)
        self.store.clock = lambda: self.clock()
        self.cipher = Cipher(settings)
        self.feed = ChangeFeed(self.store, accept_outage=settings.revocation_outage == "accept")
        self.store.after_write = self.feed.after_write
        if clock is not time.time:  # the clock of a test, which moves instead of the machine's uptime
            self.feed.uptime = clock
        self.keys = KeyRing(self.store, self.cipher, self.feed)
        self.resources = ResourceCache(settings, self.store, self.feed)
        self.token_generator = TokenGenerator(settings, self.keys, self.resources)
        self.owner_cache = OwnerCache(owners.find, self.feed, lambda: self.has_built_in_accounts)
        self.recent_codes: RecentlyIssued[tuple[AuthorizationCode, Grant]] = RecentlyIssued(_MAX_RECENTLY_ISSUED)
        self.recent_refresh_tokens: RecentlyIssued[tuple[RefreshToken, Grant]] = RecentlyIssued(_MAX_RECENTLY_ISSUED)
        self.authenticated_sessions: TwoGenerationCache[AuthenticatedSession] = TwoGenerationCache(
            _MAX_AUTHENTICATED_SESSIONS
        )
        limits, self.plan_budgets = parse_limits(settings)
        limiter, route_limiter = make_limiters(settings, self.store, lambda: self.clock())
        self.background = BackgroundThread()
        self.usage = UsageBuffer(self.store, self.background)
        self.failures = FailureBuffer(self.store, self.background)
        self.quotas = Quotas(self.store, lambda: self.clock(), self.background.ensure_running)
        self.background.add(self.quotas.return_idle_slices, at_exit=self.quotas.return_all_slices)
        self.subscriptions = PlanCache(self.store, self.feed, settings.plans, settings.default_plan)
        plans = PlanLimits(self.plan_budgets, settings.default_plan, self.subscriptions.get_plan_name, self.quotas)
        self.admission = Admission(
            route_limiter, plans, fields_style=settings.rate_limit_fields, user_limit=limits.get("user_limit")
        )
        self.limits = NamedLimits(limiter, limits, partial(self.admission.fail_open, True))
        self.fetcher = Fetcher(settings.outbound_networks, settings.outbound_ca_file, self.clock)
        # Handlers of outbox jobs, by kind of job. The worker has its own handler for "mail".
        self.job_handlers: dict[str, JobHandler] = {}
        self._limiters = {limiter, route_limiter}
        # Tasks that the worker runs once an hour, in addition to pruning tables.
        self.hourly_tasks: list[Callable[[float], object]] = [self.prune_limits]
        self.has_built_in_accounts = False
        # Whether the host app's users can be looked up by id: resource_owner is an object with find, not a function.
        self.can_find_host_users = False
        # Metadata responses by endpoint name, each with the inputs it was built from.
        self.metadata_responses: dict[str, tuple[object, Any]] = {}
        self.owner_claims = OwnerClaimsCache(owners, self.feed)
        self.requested_claims = RequestedClaimsCache(self.store, self.feed)
        self.build_openapi_document: Callable[..., dict[str, Any]] = dict
        self.fetch_slots = FetchSlots()
        self.remote_keys = RemoteKeys(
            self.fetcher, lambda: self.clock(), _CLIENT_KEYS_FRESHNESS, self.fetch_slots.client_keys
        )
        providers = [provider.issuer for provider in settings.sign_in_with if provider.has_metadata]
        self.provider_metadata = Discovery(
            self.fetcher, lambda: self.clock(), providers, _PROVIDER_FRESHNESS, self.fetch_slots.providers
        )
        self.images = RemoteImages(self.fetcher, lambda: self.clock(), self.fetch_slots.logos)
        self.client_metadata_documents = ClientMetadataDocumentCache(
            self.fetcher,
            settings.known_scopes.keys(),
            lambda host, now: self.limits.admits("document_fetches", host, now=now),
            self.fetch_slots.client_metadata,
            allow_http_loopback=settings.is_development,
            private_use_schemes=settings.redirect_schemes,
        )
        self.clients = ClientCache(self.store, self.feed, self.client_metadata_documents, settings.metadata_documents)
        # After the caches of keys, plans and clients: when a change drops a token, they have read the change.
        personal_verifier = PersonalAccessTokenVerifier(
            settings, self.store, self.feed, self.subscriptions, self.clients
        )
        self.verifier = AccessTokenVerifier(
            settings, self.store, self.keys, self.feed, personal_verifier, self._has_active_owner
        )
        self.origins = OriginCache(self.store, self.feed)
        self.on_store_created: list[Callable[[Runtime, float], None]] = []
        self._reset()
        call_after_fork(self._reset)
        self._is_command = Runtime._is_loaded_by_command
        may_run_worker = settings.embedded_worker and not self._is_command
        self.worker_thread = WorkerThread(self.make_worker, may_run=may_run_worker)

    def _reset(self) -> None:
        self.is_ready = False  # a forked process has no worker thread yet
        self._ready_lock = threading.Lock()

    def get_ready(self) -> None:
        """Check the schema of the database; create a SQLite database, with its keys, if there is none.

        If the issuer is public, the log says where: the server may have been started in another folder than before.

        Also starts the worker thread, if this process may have one. Later calls do nothing.

        :raises StoreUnavailable: if the database does not respond, or its schema is older or newer than this code
            needs; the message says what to do.
        """
        with self._ready_lock:
            if self.is_ready:
                return
            if self.store.dialect == "sqlite" and schema_version(self.store) is None:
                prepare_store(self)
                if self.settings.is_production:
                    _log.warning(
                        "created a new database, %s. If there was one before, this server was started in another "
                        "folder: set data_dir to an absolute path",
                        sqlite_path(self.settings.store_url),
                    )
            check_schema(self.store)
            if not self._is_command:
                self.save_served_as()
            self.is_ready = True
            self.worker_thread.ensure_running()

    def save_served_as(self) -> None:
        """Store in the database what some commands must have, too: the issuer, and the settings in the app's code.

        Do nothing if the database cannot be written, such as the standby of a PostgreSQL server.
        """
        with suppress(StoreUnavailable):
            code_settings = " ".join(sorted(self.code_settings))
            served_as.save(self.store, served_as.ServedAs(self.settings.issuer, self.app_name, code_settings))

    @staticmethod
    @contextmanager
    def loading_for_command() -> Iterator[None]:
        """Context manager: apps that are loaded in the block start no worker thread: a command is not a server."""
        Runtime._is_loaded_by_command = True
        try:
            yield
        finally:
            Runtime._is_loaded_by_command = False

    def make_worker(self) -> Worker:
        """Return a worker for this app, not started: it sends queued mail and logout tokens, and runs hourly tasks."""
        return Worker(self.settings, self.store, self.clock, self.job_handlers, self.hourly_tasks)

    def list_resources(self) -> list[ProtectedResource]:
        """Return the protected resources that tokens are issued for (RFC 9728), the API included.

        :raises StoreUnavailable: if the database cannot be read.
        """
        if not self.is_ready:
            self.get_ready()
        return self.resources.describe_all()

    @property
    def can_step_up(self) -> bool:
        """Whether users can sign in in another way, such as with Google, if a client requires it (``acr_values``).

        False if ``resource_owner`` is a function: it does not say how a user signed in.
        """
        return bool(self.settings.sign_in_with) if self.has_built_in_accounts else self.can_find_host_users

    @property
    def knows_sign_ins(self) -> bool:
        """Whether the time and the method of a user's sign-in are known.

        False if ``resource_owner`` is a function, which returns only the user's id.
        """
        return self.has_built_in_accounts or self.can_find_host_users

    @property
    def supports_sign_out(self) -> bool:
        """Whether Valetkey can sign users out: accounts are its own, or the host app's accounts have ``sign_out()``."""
        return isinstance(self.owners, SupportsSignOut)

    def _has_active_owner(self, token: AccessToken, now: float) -> bool:
        is_personal = token.client_id == PERSONAL_TOKEN_CLIENT_ID
        if token.user_id is None or not (self.can_find_host_users or is_personal):
            return True
        accept_outage = is_personal and self.settings.revocation_outage == "accept"
        return self.owner_cache.was_active_recently(token.user_id, now, accept_outage=accept_outage)

    def prune_limits(self, now: float) -> None:
        """Delete the rate limit counters whose whole budget is available again at ``now``, in seconds since 1970.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        for limiter in self._limiters:
            limiter.prune(now)

    def close(self) -> None:
        """Stop the worker and the background thread, and close the connections to database and Redis.

        Waits for the worker to finish, 5 seconds at most.
        """
        self.worker_thread.stop()
        self.background.close()
        for limiter in self._limiters:
            limiter.close()
        self.store.close()


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
        on_created(runtime, runtime.clock())
    return has_new_keys
