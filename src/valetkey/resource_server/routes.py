"""Lists the routes of a Flask app, each with its protection. Other modules get routes only from here.

Does not import Flask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .guard.class_views import get_decorated_method
from .guard.route_protection import apply_blueprint_protection, deny_undecorated_routes
from .protection import DENIED_METHODS_ATTRIBUTE, PROTECTION_ATTRIBUTE, PROTECTION_BY_METHOD_ATTRIBUTE, RouteProtection

_VALETKEY_PREFIX = "valetkey_"  # prefix of the endpoints of Valetkey's blueprints
_log = logging.getLogger("valetkey")
_AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})  # Flask responds to them by itself


class HasRoutes(Protocol):
    """The attributes of a Flask app that are needed to list its routes."""

    url_map: Any
    view_functions: dict[str, Any]

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
    view_function: Any = None  # what Flask calls: the view, or the class-based view with its decorators
    is_denied: bool = False  # whether all calls are refused, since the route is undecorated (protect_by_default)

    @property
    def protection(self) -> RouteProtection | None:
        """What the route requires of callers, or ``None`` if it has no ``@require_oauth``, ``@public`` or ``protect``.

        If several decorators apply, the innermost one that is not ``@public`` counts, else the innermost one.
        """
        non_public = tuple(protection for protection in self.protections if not protection.is_public)
        return (non_public or self.protections)[-1] if self.protections else None

    def get_view_attribute(self, name: str) -> Any:
        """Return the attribute with this name that a decorator set on the view, or ``None`` if there is none."""
        return getattr(self.view, name, getattr(self.view_function, name, None))

    @property
    def is_valetkey_route(self) -> bool:
        """Whether the route is one of Valetkey's own and not one of the publisher's app."""
        return self.endpoint.startswith(_VALETKEY_PREFIX)

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
    """Yield each route of the app, in the order of URL matching, without URL rules that are ``build_only``.

    Views of protected blueprints are decorated first.
    """
    apply_blueprint_protection(app)
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is None or rule.build_only:
            continue
        rule_methods = set(rule.methods or {"GET"})
        methods = tuple(sorted(rule_methods - _AUTOMATIC_METHODS or rule_methods - {"OPTIONS"} or rule_methods))
        view_class = getattr(view, "view_class", None)
        if view_class is None or not hasattr(view_class, "methods"):
            yield Route(
                rule.endpoint,
                rule.rule,
                methods,
                view,
                _get_protections(view),
                rule,
                view,
                hasattr(view, DENIED_METHODS_ATTRIBUTE),
            )
            continue
        for method in methods:
            method_view = get_decorated_method(view_class, method.lower())
            inner = () if method_view is None else _get_protections(method_view)
            by_method: Mapping[str, RouteProtection] = getattr(view, PROTECTION_BY_METHOD_ATTRIBUTE, {})
            outer = (*_get_protections(view), *((by_method[method],) if method in by_method else ()))
            is_denied = hasattr(view, DENIED_METHODS_ATTRIBUTE) and (
                not getattr(view, DENIED_METHODS_ATTRIBUTE) or method in getattr(view, DENIED_METHODS_ATTRIBUTE)
            )
            handler = view if method_view is None else method_view
            yield Route(rule.endpoint, rule.rule, (method,), handler, (*outer, *inner), rule, view, is_denied)


def find_undecorated_paths(app: HasRoutes, prefix: str) -> list[str]:
    """Return the paths, at or below a prefix, of routes without ``@require_oauth``, ``@public`` or ``protect``.

    The paths are sorted; Valetkey's own routes are left out.
    """
    return sorted(
        {
            route.path
            for route in iter_routes(app)
            if not route.is_valetkey_route and route.is_below(prefix) and route.protection is None
        }
    )


def protect_routes(app: HasRoutes, prefix: str, *, deny_undecorated: bool) -> None:
    """Guard the views of protected blueprints, and warn in the log about routes that nothing protects.

    Called before the first request. Unprotected are routes without ``@require_oauth``, ``@public`` or ``protect``.

    :param prefix: only unprotected routes at this path or below are meant.
    :param deny_undecorated: whether calls of unprotected routes are refused.
    """
    undecorated = find_undecorated_paths(app, prefix)
    if undecorated:
        _log.warning(
            "nothing says who may call %s: mark each with @public or @require_oauth, or protect its blueprint%s",
            ", ".join(undecorated),
            "; until then, calls are denied" if deny_undecorated else "",
        )
    if deny_undecorated:
        deny_undecorated_routes(app, prefix)


def _get_protections(view: object) -> tuple[RouteProtection, ...]:
    protection: RouteProtection | None = getattr(view, PROTECTION_ATTRIBUTE, None)
    return () if protection is None else (protection,)
