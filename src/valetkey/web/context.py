"""Access to the app's ``Runtime``, and to shared state, caller address and route of the current request."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from flask import current_app, request

from valetkey.rate_limiting.address import UNIX_SOCKET, caller_address, is_unix_socket

from .wsgi import Environ

if TYPE_CHECKING:  # a standalone resource server has no Runtime, and does not import its dependencies
    from valetkey.runtime import Runtime

EXTENSION = "valetkey"
NO_ROUTE = "(no route)"  # the route of a request that matches none
_STATE_KEY = "valetkey.request_state"  # in the WSGI environment
_is_unknown_address_logged = threading.Event()
_log = logging.getLogger("valetkey")


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


def current_address(trusted_proxies: tuple[str, ...]) -> str | None:
    """Return the caller's IP address, or None if the WSGI server does not pass it on.

    ``X-Forwarded-For`` is used only if it comes from a trusted proxy (RFC 9700 §4.13).
    """
    return address_of(request.environ, trusted_proxies)


def address_of(environ: Environ, trusted_proxies: tuple[str, ...]) -> str | None:
    """Return the caller's IP address from a WSGI environment, or None if the WSGI server does not pass it on.

    ``X-Forwarded-For`` is used only if it comes from a trusted proxy (RFC 9700 §4.13).
    """
    address: str | None = environ.get("REMOTE_ADDR")
    if trusted_proxies:
        address = caller_address(address, environ.get("HTTP_X_FORWARDED_FOR"), trusted_proxies)
    if is_unix_socket(address) and not _is_unknown_address_logged.is_set():
        _log_unknown_address(trusted_proxies)
    return address


def _log_unknown_address(trusted_proxies: tuple[str, ...]) -> None:
    """Log once in each process that the addresses of callers are not known, and what to change."""
    _is_unknown_address_logged.set()
    remedy = (
        "let the proxy that connects over a Unix socket set X-Forwarded-For"
        if UNIX_SOCKET in trusted_proxies
        else "if a proxy connects over a Unix socket, add 'unix' to trusted_proxies, and let it set X-Forwarded-For"
    )
    _log.warning("the address of a caller is not known, and all such callers share the limits of one: %s", remedy)


def current_route() -> str:
    """Return the URL rule of the current request, such as ``/notes/<int:id>``; ``(no route)`` if no rule matches.

    The log has the rule instead of the path, because the path may contain a secret or a line break.
    """
    return request.url_rule.rule if request.url_rule else NO_ROUTE
