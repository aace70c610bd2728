"""Finds views with ``@require_oauth`` or ``@public`` above a route decorator, where they have no effect.

``@app.get`` registers the function that is below it, and returns that function. A decorator above it returns another
function, which Flask never calls. Does not import Flask.
"""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Protocol

from valetkey.resource_server.protection import PROTECTION_ATTRIBUTE, RouteProtection

from .own_endpoints import is_valetkey_endpoint

_OWN_PACKAGE = __name__.partition(".")[0]
# By view with a decorator above its definition: the name of the decorator, and the protection that it declares. The
# view itself is not changed, because it may be used for another route, too.
_decorated_views: weakref.WeakKeyDictionary[FunctionType, tuple[str, RouteProtection]] = weakref.WeakKeyDictionary()


class HasViewsAndHooks(Protocol):
    """The attributes of a Flask app that have its views and its ``before_request`` functions."""

    view_functions: dict[str, Any]
    before_request_funcs: Any

    @property
    def blueprints(self) -> Any: ...


def record_decorated_view(view: Callable[..., Any], decorated: Callable[..., Any], decorator: str) -> None:
    """Remember that a decorator is written above the definition of a view.

    A call such as ``require_oauth(view)`` elsewhere is not remembered: the view itself may be meant for another route.

    :param decorated: what the decorator returns.
    :param decorator: its name, such as ``@public``.
    """
    if _is_being_defined(view):
        for function in iter_wrapped(view):  # the route decorator may be below another decorator
            if isinstance(function, FunctionType):
                _decorated_views[function] = decorator, getattr(decorated, PROTECTION_ATTRIBUTE)


def _is_being_defined(view: Callable[..., Any]) -> bool:
    """Return whether the code that has called Valetkey defines a view, and is at a decorator of it."""
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _OWN_PACKAGE:
        frame = frame.f_back
    code: CodeType | None = getattr(inspect.unwrap(view), "__code__", None)
    if code is None or code.co_name == "<lambda>" or not any(item is code for item in frame.f_code.co_consts):
        return False
    last_line = max(line for _, _, line in code.co_lines() if line is not None)
    return code.co_firstlineno <= frame.f_lineno <= last_line  # the first line is that of the first decorator


def find_misplaced_decorators(app: HasViewsAndHooks) -> dict[str, str]:
    """Return the endpoints of the app whose view has a decorator that has no effect, with the name of the decorator.

    A ``before_request`` function is listed by its name, with parentheses.
    """
    functions = {
        endpoint: view for endpoint, view in app.view_functions.items() if not is_valetkey_endpoint(app, endpoint)
    }
    for hooks in app.before_request_funcs.values():
        functions |= {f"{getattr(hook, '__name__', hook)}()": hook for hook in hooks}
    # A decorator above that copies the attributes of a function has its protection, too.
    in_use = {
        id(getattr(function, PROTECTION_ATTRIBUTE, None))
        for registered in functions.values()
        for function in iter_wrapped(registered)
    }
    return {
        name: decorator
        for name, registered in functions.items()
        for function in iter_wrapped(registered)
        if (decorator := _find_unused_decorator(function, in_use))
    }


def _find_unused_decorator(function: Any, in_use: set[int]) -> str | None:
    """Return the decorator above a function if the protection that it declares is not in use, else ``None``.

    :param in_use: the ids of the protections of all registered functions.
    """
    if not isinstance(function, FunctionType) or function not in _decorated_views:
        return None
    decorator, protection = _decorated_views[function]
    return None if id(protection) in in_use else decorator


def iter_wrapped(function: Any) -> Iterator[Any]:
    """Yield a function, and the functions that it wraps, from the outside in.

    It wraps those that ``functools.wraps`` and ``functools.partial`` name.
    """
    while function is not None:
        yield function
        inner = function.func if isinstance(function, functools.partial) else None
        function = getattr(function, "__wrapped__", inner)
