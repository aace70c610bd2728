"""Lists the routes of a Flask app, each with its protection. Other modules get routes only from here.

Does not import Flask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from valetkey.web.class_views import get_called_method, get_view_attribute

from .guard.misplaced_decorators import find_misplaced_decorators
from .guard.own_endpoints import is_valetkey_endpoint
from .guard.prefix_match import can_match_below
from .guard.route_protection import list_protections
from .protection import RouteProtection

_log = logging.getLogger("valetkey")
_AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})  # Flask responds to them by itself


class HasRoutes(Protocol):
    """The attributes of a Flask app that are needed to list its routes."""

    url_map: Any
    view_functions: dict[str, Any]
    before_request_funcs: Any

    @property
    def blueprints(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Route:
    """A URL path, its HTTP methods, and the view that handles them. A class-based view has one route per method."""

    endpoint: str
    path: str  # the rule of the route, such as /notes/<int:note_id>
    methods: tuple[str, ...]  # without the HEAD and OPTIONS that Flask adds
    view: Callable[..., Any]  # a function, or a method of a class-based view
    protections: tuple[RouteProtection, ...]  # outermost first; a call must pass all of them
    rule: Any  # the werkzeug rule, which has the converters
    view_function: Any  # what Flask calls: the view, or the class-based view with its decorators
    is_valetkey_route: bool = False  # whether it is one of Valetkey's own and not one of the publisher's app

    @property
    def protection(self) -> RouteProtection | None:
        """What the route requires of callers, or ``None`` if it has no ``@require_oauth``, ``@public`` or ``protect``.

        If several decorators apply, the innermost one that is not ``@public`` counts, else the innermost one.
        """
        non_public = tuple(protection for protection in self.protections if not protection.is_public)
        return (non_public or self.protections)[-1] if self.protections else None

    def get_view_attribute(self, name: str) -> Any:
        """Return the attribute with this name that a decorator set on the view, or ``None`` if there is none."""
        return get_view_attribute(self.view_function, self.methods[0], name)

    def is_below(self, prefix: str) -> bool:
        """Return whether the route's path is ``prefix`` or below it."""
        return self.path == prefix or self.path.startswith(f"{prefix}/")

    @property
    def scopes(self) -> frozenset[str]:
        """All scopes that the route's decorators name, also those that are alternatives to each other."""
        return frozenset().union(
            *(scopes for protection in self.protections for scopes in protection.scope_alternatives)
        )


def iter_routes(app: HasRoutes) -> Iterator[Route]:
    """Yield each route of the app, in the order of URL matching, without URL rules that are ``build_only``."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is None or rule.build_only:
            continue
        is_own = is_valetkey_endpoint(app, rule.endpoint)
        rule_methods = set(rule.methods or {"GET"})
        methods = tuple(sorted(rule_methods - _AUTOMATIC_METHODS or rule_methods - {"OPTIONS"} or rule_methods))
        view_class = getattr(view, "view_class", None)
        if view_class is None or not hasattr(view_class, "methods"):
            protections = list_protections(app, rule.endpoint, view, methods[0])
            yield Route(rule.endpoint, rule.rule, methods, view, protections, rule, view, is_own)
            continue
        own_methods = {method for method in rule_methods & _AUTOMATIC_METHODS if hasattr(view_class, method.lower())}
        for method in sorted({*methods, *own_methods}):
            protections = list_protections(app, rule.endpoint, view, method)
            handler = get_called_method(view_class, method) or getattr(view_class, method.lower(), view)
            yield Route(rule.endpoint, rule.rule, (method,), handler, protections, rule, view, is_own)


def find_undecorated_paths(app: HasRoutes, prefix: str) -> list[str]:
    """Return the paths, at or below a prefix, of routes without ``@require_oauth``, ``@public`` or ``protect``.

    The paths are sorted; Valetkey's own routes are left out.
    """
    return sorted({route.path for route in _iter_undecorated_routes(app) if route.is_below(prefix)})


def find_reaching_paths(app: HasRoutes, prefix: str) -> list[str]:
    """Return the paths of undecorated routes that are not written below a prefix but can match a URL below it.

    Examples for ``/api`` are ``/<path:page>`` and ``/<name>``. The paths are sorted.
    """
    converters = app.url_map.converters
    return sorted(
        {
            route.path
            for route in _iter_undecorated_routes(app)
            if not route.is_below(prefix) and can_match_below(route.path, prefix, converters)
        }
    )


def warn_undecorated_routes(app: HasRoutes, prefix: str, *, are_denied: bool) -> None:
    """Warn in the log about routes without ``@require_oauth``, ``@public`` or ``protect``, before the first request.

    :param prefix: only routes at this path or below are meant.
    :param are_denied: whether calls of these routes are refused.
    """
    undecorated = find_undecorated_paths(app, prefix)
    if undecorated:
        _log.warning(
            "%s: no protection is declared; add @public or @require_oauth to each, or protect its blueprint%s",
            ", ".join(undecorated),
            "; until then, calls are denied" if are_denied else "",
        )


def _iter_undecorated_routes(app: HasRoutes) -> Iterator[Route]:
    """Yield the app's own routes without protection, except those whose decorator is in the wrong place."""
    misplaced = find_misplaced_decorators(app)
    for route in iter_routes(app):
        if not route.is_valetkey_route and route.protection is None and route.endpoint not in misplaced:
            yield route
