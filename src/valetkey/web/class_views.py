"""Finds the methods of class-based views (MethodView, Flask-RESTful's Resource). Does not import Flask."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Mapping
from types import CodeType
from typing import Any

# Modules whose ``dispatch_request`` calls the method of the class that is named like the HTTP method, and whether it
# applies the class's ``method_decorators`` at each call.
_DISPATCHING_MODULES = {"flask.views": False, "flask_restful": True, "flask_restx.resource": True}
_METHOD_NAMES = frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace", "dispatch_request"})
_ATTRIBUTE_SETTERS = frozenset({"setattr", "vars", "__dict__", "__setattr__"})
_LIBRARIES = frozenset({"builtins", "flask", "flask_restful", "flask_restx", "typing"})  # none of them does this


def check_is_no_class_based_view(view: object) -> None:
    """Check that what is to be decorated is no class with ``as_view``: frameworks would not call the decorator.

    They register the class itself. Another class may be a view, as ``dict`` is.

    :raises ValueError: if it is such a class.
    """
    if isinstance(view, type) and hasattr(view, "as_view"):
        raise ValueError(
            f"the class {view.__name__} cannot be decorated: list the decorator in the class's `decorators`, as in "
            "`decorators = [require_oauth(...)]`, or decorate its methods"
        )


def get_called_method(view_class: Any, http_method: str) -> Any:
    """Return the method of a class-based view that handles an HTTP method, or ``None`` if that cannot be said.

    For HEAD, it is ``get`` if the class has no ``head``. The method is decorated with the class's
    ``method_decorators`` if they take effect. It cannot be said which method is called if the class dispatches requests
    or creates its instances itself, or sets methods of its instances, or if a decorator raises an exception: it may
    need what the app's hooks set for a request.
    """
    applies_decorators = _DISPATCHING_MODULES.get(_dispatching_module(view_class))
    if applies_decorators is None:
        return None
    method = getattr(view_class, http_method.lower(), None)
    if method is None and http_method == "HEAD":
        method = getattr(view_class, "get", None)
    if method is None or not applies_decorators:
        return method
    decorators = getattr(view_class, "method_decorators", ())
    if isinstance(decorators, Mapping):  # not those of "get" for HEAD, which is how Flask-RESTful does it
        decorators = decorators.get(http_method.lower(), ())
    try:
        for decorate in decorators:
            method = decorate(method)
    except Exception:
        return None
    return method


def get_view_attribute(view: Any, http_method: str, name: str) -> Any:
    """Return the attribute with this name that a decorator set on a view, or ``None`` if there is none.

    A class-based view can be decorated at the method that handles the HTTP method, at ``dispatch_request`` and as a
    whole (``decorators``): the innermost decorator counts. The function of a ``functools.partial`` can be decorated.

    :param view: the view function, such as the one that ``MethodView.as_view`` returns.
    """
    view_class = getattr(view, "view_class", None)
    if view_class is None:
        while isinstance(view, functools.partial) and not hasattr(view, name):
            view = view.func
        return getattr(view, name, None)
    handler = get_called_method(view_class, http_method) or getattr(view_class, http_method.lower(), None)
    decorated = (handler, getattr(view_class, "dispatch_request", None), view)
    return next((getattr(item, name) for item in decorated if hasattr(item, name)), None)


def _dispatching_module(view_class: Any) -> str:
    """Return the name of the module that has the code of the class's ``dispatch_request``.

    Return an empty string if instances of the class may have other methods than the class itself.
    """
    if view_class.__getattribute__ is not object.__getattribute__ or view_class.__new__ is not object.__new__:
        return ""
    if _may_replace_methods(view_class):
        return ""
    # ``__module__`` would be that of the original function if a decorator has replaced it (functools.wraps).
    return str(getattr(getattr(view_class, "dispatch_request", None), "__globals__", {}).get("__name__", ""))


@functools.cache
def _may_replace_methods(view_class: type) -> bool:
    """Return whether code of the class may set a method of an instance, such as ``self.get = other``.

    That is code which sets such an attribute, and an ``__init__`` that sets attributes by a name it does not show.
    """
    for base in view_class.__mro__:
        if base.__module__.partition(".")[0] in _LIBRARIES:
            continue
        for name, member in vars(base).items():
            code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
            if code is not None and _sets_method(code, also_by_variable=name == "__init__"):
                return True
    return False


def _sets_method(code: CodeType, *, also_by_variable: bool) -> bool:
    """Return whether a function, or a function inside of it, sets an attribute that is named like an HTTP method.

    :param also_by_variable: whether to return true if the function can set an attribute of any name.
    """
    for instruction in dis.get_instructions(code):
        name = instruction.argval if isinstance(instruction.argval, str) else ""
        is_dynamic = name in _ATTRIBUTE_SETTERS and instruction.opname.startswith("LOAD_")
        if (instruction.opname == "STORE_ATTR" and name in _METHOD_NAMES) or (also_by_variable and is_dynamic):
            return True
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return any(_sets_method(constant, also_by_variable=also_by_variable) for constant in inner)
