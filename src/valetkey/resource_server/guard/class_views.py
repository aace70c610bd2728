"""Finds the methods of class-based views (MethodView, Flask-RESTful's Resource). Does not import Flask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_view_methods(view: Any) -> dict[str, Any]:
    """Return the methods of a class-based view by HTTP method, such as ``GET``; empty if it is a function view."""
    view_class = getattr(view, "view_class", None)
    names = getattr(view_class, "methods", None) or ()
    methods = {name.upper(): get_decorated_method(view_class, name.lower()) for name in names}
    return {name: method for name, method in methods.items() if method is not None}


def get_decorated_method(view_class: Any, name: str) -> Any:
    """Return a method of a class-based view, such as ``get``, or ``None`` if there is none with this name.

    The method is decorated with the class's ``method_decorators``, which Flask-RESTful applies at each call.
    """
    method = getattr(view_class, name, None)
    decorators = getattr(view_class, "method_decorators", ())
    for decorate in decorators.get(name, ()) if isinstance(decorators, Mapping) else decorators:
        method = decorate(method) if method is not None else None
    return method
