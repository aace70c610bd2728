"""What is around a helper: the app, perhaps a Valetkey in it, and who calls."""

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
    """The runtime of this app; None where there is no Valetkey, or only a resource server without a store."""
    found: Any = current_app.extensions.get(EXTENSION)
    return found if hasattr(found, "store") and hasattr(found, "cipher") else None


def current_time() -> float:
    """Seconds since 1970, by the clock of the app's Valetkey where there is one."""
    found: Any = current_app.extensions.get(EXTENSION)
    return float(found.clock()) if hasattr(found, "clock") else time.time()


def caller_key(runtime: Runtime) -> str:
    """Who calls: the app and its user, or the network that an anonymous call came from; never the token."""
    token = request.environ.get(TOKEN_KEY)
    if token:
        return f"{token.client_id}|{token.user_id or ''}"
    return f"address|{caller_network(current_address(runtime))}"


def ensure_sync(view: View) -> View:
    """The view as a plain call; told once whether it is async."""
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: current_app.ensure_sync(view)(*args, **kwargs)
