"""The app's runtime, and the state, caller address and route of the current request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flask import current_app, request

from valetkey.rate_limiting.address import caller_address

from .wsgi import Environ

if TYPE_CHECKING:  # a standalone resource server has no Runtime, and does not import its dependencies
    from valetkey.runtime import Runtime

EXTENSION = "valetkey"
NO_ROUTE = "(no route)"  # the route of a request that matches none
_STATE_KEY = "valetkey.request_state"  # in the WSGI environment


class HasTrustedProxies(Protocol):
    """Settings with the networks of trusted proxies, in CIDR notation."""

    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class HasProxySettings(Protocol):
    """Object whose settings have trusted proxies: a ``Runtime``, or the context of a standalone resource server."""

    @property
    def settings(self) -> HasTrustedProxies: ...


def current_runtime() -> Runtime:
    """Return the runtime of the current app. Needs an application context."""
    runtime: Runtime = current_app.extensions[EXTENSION]
    return runtime


def request_state() -> dict[str, Any]:
    """Return the state that Valetkey's views share during the current request.

    It is stored in the WSGI environment, not in ``flask.g``: a test may use one application context for many requests.
    """
    state: dict[str, Any] = request.environ.setdefault(_STATE_KEY, {})
    return state


def current_address(runtime: HasProxySettings) -> str | None:
    """Return the caller's IP address, or None if the server does not pass it on.

    ``X-Forwarded-For`` is used only if it comes from a trusted proxy (RFC 9700 §4.13).
    """
    return address_of(request.environ, runtime)


def address_of(environ: Environ, runtime: HasProxySettings) -> str | None:
    """Return the caller's IP address from a WSGI environment, as ``current_address`` does."""
    trusted = runtime.settings.trusted_proxies
    if not trusted:
        return environ.get("REMOTE_ADDR")
    return caller_address(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR"), trusted)


def current_route() -> str:
    """Return the URL rule of the current request, for the log: its path may contain a secret or a line break."""
    return request.url_rule.rule if request.url_rule else NO_ROUTE
