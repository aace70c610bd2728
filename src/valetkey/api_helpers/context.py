"""What the helpers need from the current app and request: Valetkey's runtime, its clock, the caller."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import current_app, request

from valetkey.rate_limiting.address import caller_network
from valetkey.web.context import EXTENSION, current_address
from valetkey.web.wsgi import TOKEN_KEY

if TYPE_CHECKING:
    from valetkey.runtime import Runtime

View = Callable[..., Any]


def find_runtime() -> Runtime | None:
    """Return the runtime of the app's ``Valetkey``, or None if the app has none or only a ``ResourceServer``."""
    extension: Any = current_app.extensions.get(EXTENSION)
    return extension if hasattr(extension, "store") and hasattr(extension, "cipher") else None


def current_time() -> float:
    """Return the time in seconds since 1970, by Valetkey's clock if the app has one, else by the system's."""
    extension: Any = current_app.extensions.get(EXTENSION)
    return float(extension.clock()) if hasattr(extension, "clock") else time.time()


def caller_key(runtime: Runtime) -> str:
    """Identify the caller: the token's client and user, or the caller's IP network if the request has no token.

    The key is the same for all tokens of a client and user.
    """
    token = request.environ.get(TOKEN_KEY)
    if token:
        return f"{token.client_id}|{token.user_id or ''}"
    return f"address|{caller_network(current_address(runtime))}"


def ensure_sync(view: View) -> View:
    """Return a synchronous function that calls the view; the view itself if it is not ``async``."""
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: current_app.ensure_sync(view)(*args, **kwargs)
