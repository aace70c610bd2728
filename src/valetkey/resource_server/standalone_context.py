"""Settings, token verifier and rate limits of an app that only has ``ResourceServer``, no authorization server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from valetkey.outbound.cached_fetch import Freshness
from valetkey.outbound.http import Fetcher
from valetkey.outbound.remote_keys import RemoteKeys
from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.rate_limiting.admission import Admission
from valetkey.rate_limiting.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.redis_counters import RedisCounters
from valetkey.settings import Settings, SettingsError
from valetkey.settings.sources import read_settings

from .issuers.config import TrustedIssuer, parse_issuers
from .issuers.discovery import Discovery
from .issuers.introspection import Introspector
from .issuers.jwt import SignatureVerifier
from .issuers.verifier import TrustedIssuerTokenVerifier
from .metadata import WELL_KNOWN

STANDALONE_SETTINGS = frozenset(
    {
        "api_prefix",
        "clock_leeway",
        "data_dir",
        "outbound_allowed_networks",
        "outbound_ca_file",
        "problem_details",
        "protect_by_default",
        "rate_limit_fields",
        "redis_url",
        "request_ids",
        "resource",
        "scopes",
        "site_name",
        "trusted_proxies",
    }
)
_FETCH_TIMEOUT_S = 3.0  # how long a call may wait for one response of an issuer
_FRESHNESS = Freshness(min_interval_s=30, retry_interval_s=5, max_stale_s=86_400)


class StandaloneContext:
    """The ``ResourceServerContext`` of an app that only has ``ResourceServer``: settings, token verifier, rate limits.

    Creating it does no I/O, and it is ready at once.
    """

    is_ready = True
    usage = None  # plans and metering need the server that registers the clients

    def __init__(
        self,
        settings: Settings,
        issuers: Mapping[str, TrustedIssuer],
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.issuers = issuers
        self.clock = clock
        self.last_used = NullLastUsed()
        self.admission = Admission(Limiter(counters), fields_style=settings.rate_limit_fields)
        fetcher = Fetcher(settings.outbound_networks, settings.outbound_ca_file, clock, timeout_s=_FETCH_TIMEOUT_S)
        discovery = Discovery(fetcher, clock, issuers, _FRESHNESS)
        self.verifier = TrustedIssuerTokenVerifier(
            issuers,
            SignatureVerifier(discovery, RemoteKeys(fetcher, clock, _FRESHNESS)),
            Introspector(fetcher, discovery),
            resource=settings.api_resource,
            leeway_s=settings.clock_leeway,
        )

    def get_ready(self) -> None:
        """Do nothing: an issuer is contacted only when its first token must be verified."""

    def close(self) -> None:
        """Close the rate limit counters, which disconnects from Redis."""
        self.admission.limiter.close()


class NullLastUsed:
    """Records no times of last use: a ``ResourceServer`` stores no grants, since they are stored at the issuers."""

    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None: ...


def build_context(
    options: Mapping[str, Any], config: Mapping[str, Any], clock: Callable[[], float]
) -> StandaloneContext:
    """Build the context of a ``ResourceServer`` from its arguments and the app's configuration.

    :param options: keyword arguments of ``ResourceServer``; they take precedence over ``config``.
    :param config: configuration of the Flask app, such as ``VALETKEY_RESOURCE``.
    :param clock: function that returns the current time in seconds since 1970.
    :raises SettingsError: if any setting is invalid; the message lists every problem.
    """
    sources = (("", options), ("VALETKEY_", config))
    problems: list[str] = []
    issuers: dict[str, TrustedIssuer] = {}
    try:
        issuers = parse_issuers(_first_value("trusted_issuers", sources) or ())
    except (ValueError, TypeError) as problem:
        problems.append(str(problem))
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
    fixed_values = {"issuer": f"{parts.scheme}://{parts.netloc}", "oauth_path": WELL_KNOWN}
    settings = read_settings(("", fixed_values), *standalone_sources)
    return StandaloneContext(settings, issuers, _make_counters(settings, _first_value("data_dir", sources)), clock)


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
        return RedisCounters(settings.redis_url)
    if data_dir is None:
        return MemoryCounters()
    from valetkey.rate_limiting.sql_counters import SqliteCounters  # imported here, since it imports SQLAlchemy

    return SqliteCounters(Path(data_dir) / "limits.db")
