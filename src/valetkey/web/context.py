"""Access to the app's ``Runtime``, and to shared state, caller address and route of the current request."""

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
    """Protocol of settings objects with ``trusted_proxies``: the networks of trusted proxies, in CIDR notation."""

    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class HasProxySettings(Protocol):
    """Protocol of objects whose settings have ``trusted_proxies``: ``Runtime`` and ``StandaloneContext``."""

    @property
    def settings(self) -> HasTrustedProxies: ...


def current_runtime() -> Runtime:
    """Return the ``Runtime`` of the current Flask app: its settings, database, keys and caches.

    Needs an application context.
    """
    runtime: Runtime = current_app.extensions[EXTENSION]
    return runtime


def request_state() -> dict[str, Any]:
    """Return the dict in which Valetkey's views share values during the current request, such as the signed-in owner.

    The dict is stored in the WSGI environment, not in ``flask.g``: a test may use one application context for several
    requests.
    """
    state: dict[str, Any] = request.environ.setdefault(_STATE_KEY, {})
    return state


def current_address(runtime: HasProxySettings) -> str | None:
    """Return the caller's IP address, or None if the WSGI server does not pass it on.

    ``X-Forwarded-For`` is used only if it comes from a trusted proxy (RFC 9700 §4.13).
    """
    return address_of(request.environ, runtime)


def address_of(environ: Environ, runtime: HasProxySettings) -> str | None:
    """Return the caller's IP address from a WSGI environment, or None if the WSGI server does not pass it on.

    ``X-Forwarded-For`` is used only if it comes from a trusted proxy (RFC 9700 §4.13).
    """
    trusted = runtime.settings.trusted_proxies
    if not trusted:
        return environ.get("REMOTE_ADDR")
    return caller_address(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR"), trusted)


def current_route() -> str:
    """Return the URL rule of the current request, such as ``/notes/<int:id>``; ``(no route)`` if no rule matches.

    The log has the rule instead of the path, because the path may contain a secret or a line break.
    """
    return request.url_rule.rule if request.url_rule else NO_ROUTE
