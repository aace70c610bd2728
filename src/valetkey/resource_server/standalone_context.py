"""The world of a resource server alone: settings, judge and limits, without an authorization server or a database."""

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
_FETCH_TIMEOUT_S = 3.0  # seconds that a call may wait for one answer of an issuer
_FRESHNESS = Freshness(min_interval_s=30, retry_interval_s=5, max_stale_s=86_400)


class StandaloneContext:
    """What the guard needs, made of trusted issuers. Making one does no I/O, and it is ready at once."""

    is_ready = True
    usage = None  # plans and metering are for those who register the apps

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
        """Nothing to do: an issuer is asked when its first token comes."""

    def close(self) -> None:
        self.admission.limiter.close()


class NullLastUsed:
    """Grants are their issuers'."""

    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None: ...


def build_context(
    options: Mapping[str, Any], config: Mapping[str, Any], clock: Callable[[], float]
) -> StandaloneContext:
    """The world of what the publisher gave; keywords come before the app's configuration.

    :raises SettingsError: with every problem together.
    """
    sources = (("", options), ("VALETKEY_", config))
    wrong: list[str] = []
    issuers: dict[str, TrustedIssuer] = {}
    try:
        issuers = parse_issuers(_first_value("trusted_issuers", sources) or ())
    except (ValueError, TypeError) as problem:
        wrong.append(str(problem))
    resource = _first_value("resource", sources)
    wrong += _resource_problems(resource)
    wrong += [f"{name}: a resource server alone has no such setting" for name in _unknown_settings(sources)]
    if wrong:
        raise SettingsError("\n".join(wrong))
    chosen = [
        (where, {name: values[name] for name in values if name in STANDALONE_SETTINGS}) for where, values in sources
    ]
    # Its own host takes the issuer's place where it is judged what is production; no path is an endpoint of ours.
    parts = urlsplit(str(resource))
    fixed = {"issuer": f"{parts.scheme}://{parts.netloc}", "oauth_path": WELL_KNOWN}
    settings = read_settings(("", fixed), *chosen)
    return StandaloneContext(settings, issuers, _make_counters(settings, _first_value("data_dir", sources)), clock)


def _first_value(name: str, sources: Iterable[tuple[str, Mapping[str, Any]]]) -> Any:
    return next((values[name] for _, values in sources if values.get(name) is not None), None)


def _unknown_settings(sources: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    known = {*STANDALONE_SETTINGS, "trusted_issuers"}
    return [
        where + name.upper() if where else name for where, values in sources for name in values if name not in known
    ]


def _resource_problems(resource: Any) -> list[str]:
    if not isinstance(resource, str):
        return ['resource: say what this API is called, like "https://api.example.com" (RFC 8707 §2)']
    problem = endpoint_uri_problem(resource)
    return [f"resource {resource!r} cannot be used: {problem}"] if problem else []


def _make_counters(settings: Settings, data_dir: str | None) -> Counters:
    if settings.redis_url:
        return RedisCounters(settings.redis_url)
    if data_dir is None:
        return MemoryCounters()
    from valetkey.rate_limiting.sql_counters import SqliteCounters  # here: it imports SQLAlchemy

    return SqliteCounters(Path(data_dir) / "limits.db")
