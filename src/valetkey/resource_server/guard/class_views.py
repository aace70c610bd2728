"""Classes of views (MethodView, Flask-RESTful's Resource), method by method. No Flask here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_view_methods(view: Any) -> dict[str, Any]:
    """The methods of the class that a view was made from, by their names in HTTP; none where it is a function."""
    made_from = getattr(view, "view_class", None)
    names = getattr(made_from, "methods", None) or ()
    found = {name.upper(): get_decorated_method(made_from, name.lower()) for name in names}
    return {name: method for name, method in found.items() if method is not None}


def get_decorated_method(view_class: Any, name: str) -> Any:
    """A method of a class of views, in the decorators that Flask-RESTful puts around it at each call."""
    method = getattr(view_class, name, None)
    given = getattr(view_class, "method_decorators", ())
    for decorate in given.get(name, ()) if isinstance(given, Mapping) else given:
        method = decorate(method) if method is not None else None
    return method
