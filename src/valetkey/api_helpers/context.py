"""Functions of the API helpers that read the current app and request: Valetkey's runtime, the time, the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import current_app, request
from werkzeug.exceptions import HTTPException

from valetkey.protocol.compound_key import join_key
from valetkey.rate_limiting.address import caller_network
from valetkey.web.context import EXTENSION, current_address
from valetkey.web.wsgi import TOKEN_KEY

if TYPE_CHECKING:
    from valetkey.runtime import Runtime

View = Callable[..., Any]


def find_runtime() -> Runtime | None:
    """Return the ``Runtime`` of the app's ``Valetkey``, or None if it has none or only a ``ResourceServer``."""
    extension: Any = current_app.extensions.get(EXTENSION)
    return extension if hasattr(extension, "store") and hasattr(extension, "cipher") else None


def current_time() -> float:
    """Return the time in seconds since 1970, from the clock of the app's ``Valetkey``, else from the system clock."""
    extension: Any = current_app.extensions.get(EXTENSION)
    return float(extension.clock()) if hasattr(extension, "clock") else time.time()


def caller_key(trusted_proxies: tuple[str, ...]) -> str:
    """Return text that identifies the caller of the current request.

    It names the client and the user of the access token, so it is the same for all their tokens. Without a token, it
    names the caller's IP network, which other callers may share: see ``is_caller_identified``.
    """
    token = request.environ.get(TOKEN_KEY)
    if token:
        return join_key("client", token.client_id, token.user_id or "")
    return join_key("address", caller_network(current_address(trusted_proxies)))


def is_caller_identified() -> bool:
    """Return whether an access token identifies the caller of the current request."""
    return bool(request.environ.get(TOKEN_KEY))


def becomes_response(error: Exception) -> bool:
    """Return whether Flask responds to an exception of a view, instead of passing it on to the server or the debugger.

    Error handlers of Flask-RESTX are not found: with them, the result may be false in tests and in debug mode.
    """
    propagates = current_app.config["PROPAGATE_EXCEPTIONS"]
    if not ((current_app.testing or current_app.debug) if propagates is None else propagates):
        return True
    has_handler = current_app._find_error_handler(error, request.blueprints) is not None
    return has_handler or (isinstance(error, HTTPException) and not current_app.trap_http_exception(error))
