"""Settings, token verifier and rate limits of an app that only has ``ResourceServer``, no authorization server."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from valetkey.outbound.cached_fetch import Freshness
from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError
from valetkey.outbound.fetch_limits import IssuerSlots
from valetkey.outbound.http import Fetcher
from valetkey.outbound.remote_keys import RemoteKeys
from valetkey.protocol.protected_resource import RESOURCE_METADATA_PATH
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.rate_limiting.admission import Admission
from valetkey.rate_limiting.backends.counters import Counters, MemoryCounters
from valetkey.rate_limiting.backends.grouped_counters import GroupedCounters
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.limiter import Limiter
from valetkey.settings import Settings, SettingsError
from valetkey.settings.environment import read_environment
from valetkey.settings.sources import OTHER_SETTINGS, SettingsSources, config_values, get_fallbacks, read_settings
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.daemon_thread import start_daemon_thread

from .issuers.config import TrustedIssuer, parse_issuers
from .issuers.introspection import Introspector
from .issuers.jwt import SignatureVerifier
from .issuers.verifier import TrustedIssuerTokenVerifier

STANDALONE_SETTINGS = frozenset(
    {
        "api_description",
        "api_prefix",
        "api_version",
        "clock_leeway",
        "data_dir",
        "docs_path",
        "health_path",
        "log_format",
        "log_level",
        "openapi_path",
        "outbound_allowed_networks",
        "outbound_ca_file",
        "problem_details",
        "protect_by_default",
        "rate_limit_fields",
        "readiness_path",
        "redis_url",
        "request_ids",
        "resource",
        "scopes",
        "site_name",
        "trusted_proxies",
    }
)
_log = logging.getLogger("valetkey")
_PRUNE_INTERVAL_S = 3600.0
_FETCH_TIMEOUT_S = 3.0  # how long a call may wait for one response of an issuer
_FRESHNESS = Freshness(min_interval_s=30, retry_interval_s=5, max_stale_s=86_400)


class StandaloneContext:
    """The ``ResourceServerContext`` of an app that only has ``ResourceServer``: settings, token verifier, rate limits.

    Creating it does no I/O. The first call starts a thread that prunes counters, if they are in files.

    :param has_counter_files: whether ``counters`` are in files, in which nothing else deletes them.
    """

    usage = None  # plans and metering need the server that registers the clients

    def __init__(
        self,
        settings: Settings,
        issuers: Mapping[str, TrustedIssuer],
        counters: Counters,
        clock: Callable[[], float],
        sources: SettingsSources,
        *,
        has_counter_files: bool,
    ) -> None:
        self.settings = settings
        self.sources = sources
        self.issuers = issuers
        self.trusted_issuers = tuple(issuers)
        self.clock = clock
        # Set by ``ResourceServer``, which is in a higher layer:
        self.build_openapi_document: Callable[..., dict[str, Any]]
        limiter = Limiter(counters, lambda: self.clock(), renews_in_background=True)
        self.admission = Admission(limiter, fields_style=settings.rate_limit_fields)
        self._has_counter_files = has_counter_files
        self._reset()
        call_after_fork(self._reset)
        self._stop = threading.Event()
        fetcher = Fetcher(settings.outbound_networks, settings.outbound_ca_file, clock, timeout_s=_FETCH_TIMEOUT_S)
        self._failed_issuers: set[str] = set()  # whose metadata could not be fetched when it was last needed
        slots = IssuerSlots()
        self._discovery = discovery = Discovery(fetcher, clock, issuers, _FRESHNESS, slots.documents)
        self.verifier = TrustedIssuerTokenVerifier(
            issuers,
            SignatureVerifier(discovery, RemoteKeys(fetcher, clock, _FRESHNESS, slots.documents)),
            Introspector(fetcher, discovery, slots.introspection),
            resource=settings.api_resource,
            leeway_s=settings.clock_leeway,
        )

    def _reset(self) -> None:
        self.is_ready = not self._has_counter_files  # a forked process has no thread yet
        self._ready_lock = threading.Lock()

    def get_ready(self) -> None:
        """Start the thread that prunes the rate limit counters, if they are in files. Later calls do nothing.

        An issuer is contacted only when its first token must be verified.
        """
        with self._ready_lock:
            if not self.is_ready:
                start_daemon_thread("valetkey-pruning", self._prune_hourly)
                self.is_ready = True

    @property
    def own_paths(self) -> tuple[str, ...]:
        """Path prefixes of Valetkey's own pages and endpoints in this app."""
        return tuple(path for path in (self.settings.docs_path, self.settings.openapi_path) if path is not None)

    def read_issuer_metadata(self) -> dict[str, Mapping[str, Any]]:
        """Return the metadata of each trusted issuer, without the issuers whose metadata cannot be fetched now.

        It is cached. Issuers with a ``jwks_uri`` may have none. A failure is logged once, since anyone can open pages
        that need the metadata.
        """
        metadata = {}
        for issuer in self.issuers:
            try:
                metadata[issuer] = self._discovery.get(issuer)
            except (FetchError, BackendUnavailable) as error:
                if self.issuers[issuer].jwks_uri is None and issuer not in self._failed_issuers:
                    self._failed_issuers.add(issuer)
                    _log.warning("the metadata of %s cannot be fetched: %s", issuer, error)
            else:
                self._failed_issuers.discard(issuer)
        return metadata

    def find_issuers_without_metadata(self) -> list[str]:
        """Return the trusted issuers whose metadata is needed to find their keys, and cannot be fetched now."""
        metadata = self.read_issuer_metadata()
        return [name for name, issuer in self.issuers.items() if issuer.jwks_uri is None and name not in metadata]

    def close(self) -> None:
        """Stop the thread that prunes, and close the rate limit counters, which disconnects from Redis."""
        self._stop.set()
        self.admission.limiter.close()

    def _prune_hourly(self) -> None:
        """Delete the counters whose budget is full again, at once and then every hour, until ``close`` is called."""
        while not self._stop.is_set():
            try:
                self.admission.limiter.prune(self.clock())
            except (BackendUnavailable, OSError) as error:
                _log.warning("the rate limit counters could not be pruned, it is tried again in an hour: %s", error)
            self._stop.wait(_PRUNE_INTERVAL_S)


def build_context(
    options: Mapping[str, Any], config: Mapping[str, Any], clock: Callable[[], float], env_prefix: str | None
) -> StandaloneContext:
    """Build the context of a ``ResourceServer`` from its arguments, environment variables and the app's configuration.

    :param options: keyword arguments of ``ResourceServer``; they take precedence over the environment.
    :param config: configuration of the Flask app, such as ``VALETKEY_RESOURCE``; the environment takes precedence.
    :param clock: function that returns the current time in seconds since 1970.
    :param env_prefix: prefix of environment variables; ``None`` to read none.
    :raises SettingsError: if any setting is invalid; the message lists every problem.
    """
    names = STANDALONE_SETTINGS | OTHER_SETTINGS
    authorization_server_settings = {item.name for item in fields(Settings)} - names
    environment = read_environment(os.environ, env_prefix, names, authorization_server_settings)
    fallbacks = {name: value for name, value in get_fallbacks().items() if name in STANDALONE_SETTINGS}
    sources = SettingsSources(options, environment, config_values(config), fallbacks)
    with sources.naming_variables():
        return _build_context(sources, clock)


def _build_context(settings_sources: SettingsSources, clock: Callable[[], float]) -> StandaloneContext:
    sources = settings_sources.pairs
    problems: list[str] = []
    issuers: dict[str, TrustedIssuer] = {}
    try:
        issuers = parse_issuers(_trusted_issuers(settings_sources) or ())
    except (ValueError, TypeError) as problem:
        problems.append(f"trusted_issuers: {problem}")
    resource = _first_value("resource", sources)
    problems += _resource_problems(resource)
    problems += [f"{name}: ResourceServer has no such setting, remove it" for name in _unknown_settings(sources)]
    if problems:
        raise SettingsError("\n".join(problems))
    standalone_sources = [
        (prefix, {name: values[name] for name in values if name in STANDALONE_SETTINGS}) for prefix, values in sources
    ]
    # The checks for production go by the issuer's host: here it is the resource's host. There are no OAuth endpoints,
    # so the only path that counts as Valetkey's own is that of the metadata.
    parts = urlsplit(str(resource))
    fixed_values = {"issuer": f"{parts.scheme}://{parts.netloc}", "oauth_path": RESOURCE_METADATA_PATH}
    fallbacks = ("", settings_sources.fallbacks)
    settings = read_settings(("", fixed_values), *standalone_sources, fallbacks)
    data_dir = _first_value("data_dir", (*sources, fallbacks))
    has_counter_files = data_dir is not None and not settings.redis_url
    counters = _make_counters(settings, data_dir)
    return StandaloneContext(settings, issuers, counters, clock, settings_sources, has_counter_files=has_counter_files)


def _trusted_issuers(sources: SettingsSources) -> Any:
    """Return the value of ``trusted_issuers``; as an environment variable it is a list separated by commas."""
    text = sources.environment.values.get("trusted_issuers")
    if text is None or sources.keywords.get("trusted_issuers") is not None:
        return _first_value("trusted_issuers", sources.pairs)
    return [issuer.strip() for issuer in text.split(",") if issuer.strip()]


def _first_value(name: str, sources: Iterable[tuple[str, Mapping[str, Any]]]) -> Any:
    return next((values[name] for _, values in sources if values.get(name) is not None), None)


def _unknown_settings(sources: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    valid = {*STANDALONE_SETTINGS, "trusted_issuers"}
    return [
        prefix + name.upper() if prefix else name for prefix, values in sources for name in values if name not in valid
    ]


def _resource_problems(resource: Any) -> list[str]:
    if not isinstance(resource, str):
        return ['resource must be the URL that identifies this API, such as "https://api.example.com" (RFC 8707 §2)']
    problem = endpoint_uri_problem(resource)
    return [f"resource {resource!r} cannot be used: {problem}"] if problem else []


def _make_counters(settings: Settings, data_dir: str | None) -> Counters:
    if settings.redis_url:
        return GroupedCounters(RedisCounters(settings.redis_url, settings.api_resource))
    if data_dir is None:
        return MemoryCounters()
    from valetkey.rate_limiting.backends.sql_counters import (
        open_local_counters,  # imported here, since it imports SQLAlchemy
    )

    return open_local_counters(Path(data_dir) / "limits.db")
