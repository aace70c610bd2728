"""The app's runtime, and who is calling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flask import current_app, request

from valetkey.rate_limiting.address import caller_address

from .wsgi import Environ

if TYPE_CHECKING:  # a resource server alone has no Runtime, and does not import what that needs
    from valetkey.runtime import Runtime

EXTENSION = "valetkey"
NO_ROUTE = "(no route)"  # of a request that no route took
_STATE_KEY = "valetkey.kept"


class HasTrustedProxies(Protocol):
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class HasProxySettings(Protocol):
    """Whatever knows which proxies to believe: a Runtime, or the world of a resource server alone."""

    @property
    def settings(self) -> HasTrustedProxies: ...


def current_runtime() -> Runtime:
    runtime: Runtime = current_app.extensions[EXTENSION]
    return runtime


def request_state() -> dict[str, Any]:
    """What our views keep until this request ends; not ``flask.g``, for a test may hold its context open for many."""
    kept: dict[str, Any] = request.environ.setdefault(_STATE_KEY, {})
    return kept


def current_address(runtime: HasProxySettings) -> str | None:
    """The caller's address; X-Forwarded-For counts from trusted proxies only (RFC 9700 §4.13)."""
    return address_of(request.environ, runtime)


def address_of(environ: Environ, runtime: HasProxySettings) -> str | None:
    """The same of a WSGI environment."""
    trusted = runtime.settings.trusted_proxies
    if not trusted:
        return environ.get("REMOTE_ADDR")
    return caller_address(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR"), trusted)


def current_route() -> str:
    """The route of this request, for the log: a path may hold a secret, or a line break."""
    return request.url_rule.rule if request.url_rule else NO_ROUTE
