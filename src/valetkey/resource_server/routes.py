"""The routes of an app, each with what it asks of its callers: read here, and nowhere else. No Flask here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .guard.class_views import get_decorated_method
from .guard.route_protection import apply_blueprint_protection, deny_undecorated_routes
from .protection import DENIED_METHODS_ATTRIBUTE, PROTECTION_ATTRIBUTE, PROTECTION_BY_METHOD_ATTRIBUTE, RouteProtection

_VALETKEY_PREFIX = "valetkey_"  # how the endpoints of our blueprints begin
_log = logging.getLogger("valetkey")
_AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})  # Flask answers them by itself


class HasRoutes(Protocol):
    """What is read of a Flask app."""

    url_map: Any
    view_functions: dict[str, Any]

    @property
    def blueprints(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Route:
    """What answers some methods at a path. A class of views has one for each of its methods."""

    endpoint: str
    path: str  # as the rule was written, /notes/<int:note_id>
    methods: tuple[str, ...]  # without the HEAD and OPTIONS that Flask adds
    view: Callable[..., Any]  # a function, or the method of a class
    protections: tuple[RouteProtection, ...]  # outermost first; a call must pass all of them
    rule: Any  # werkzeug's, with the converters
    view_function: Any = None  # what Flask calls: the view, or the class with its decorators
    is_denied: bool = False  # nobody said whom it is for, and so it refuses everybody (protect_by_default)

    @property
    def protection(self) -> RouteProtection | None:
        """Whom the route is for; None where nobody said it. The innermost that is not public counts."""
        demanding = tuple(one for one in self.protections if not one.is_public)
        return (demanding or self.protections)[-1] if self.protections else None

    def get_view_attribute(self, name: str) -> Any:
        """What a decorator around the view left there under this name; None where there was none."""
        return getattr(self.view, name, getattr(self.view_function, name, None))

    @property
    def is_valetkey_route(self) -> bool:
        """Whether it is one of Valetkey's own."""
        return self.endpoint.startswith(_VALETKEY_PREFIX)

    def is_below(self, prefix: str) -> bool:
        """Whether it belongs to the API that begins at this path."""
        return self.path == prefix or self.path.startswith(f"{prefix}/")

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that the route names."""
        return frozenset().union(*(scope for one in self.protections for scope in one.scope_alternatives))


def iter_routes(app: HasRoutes) -> Iterator[Route]:
    """Each route of the app, in the order in which they are tried; rules that only build URLs are left out."""
    apply_blueprint_protection(app)
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is None or rule.build_only:
            continue
        given = set(rule.methods or {"GET"})
        methods = tuple(sorted(given - _AUTOMATIC_METHODS or given - {"OPTIONS"} or given))
        made_from = getattr(view, "view_class", None)
        if made_from is None or not hasattr(made_from, "methods"):
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
            found = get_decorated_method(made_from, method.lower())
            answers, asked = (view, ()) if found is None else (found, _get_protections(found))
            by_method: Mapping[str, RouteProtection] = getattr(view, PROTECTION_BY_METHOD_ATTRIBUTE, {})
            around = (*_get_protections(view), *((by_method[method],) if method in by_method else ()))
            is_closed = hasattr(view, DENIED_METHODS_ATTRIBUTE) and (
                not getattr(view, DENIED_METHODS_ATTRIBUTE) or method in getattr(view, DENIED_METHODS_ATTRIBUTE)
            )
            yield Route(rule.endpoint, rule.rule, (method,), answers, (*around, *asked), rule, view, is_closed)


def find_undecorated_paths(app: HasRoutes, prefix: str) -> list[str]:
    """The paths below a prefix about which nobody said whom they are for."""
    return sorted(
        {
            route.path
            for route in iter_routes(app)
            if not route.is_valetkey_route and route.is_below(prefix) and route.protection is None
        }
    )


def protect_routes(app: HasRoutes, prefix: str, *, deny_undecorated: bool) -> None:
    """Before the first request: guard the views of protected blueprints, and tell of routes that nobody decided about.

    :param close: whether those are refused.
    """
    undecided = find_undecorated_paths(app, prefix)
    if undecided:
        _log.warning(
            "nobody said who may call %s: mark each with @public or @require_oauth, or protect its blueprint%s",
            ", ".join(undecided),
            "; until then it is closed" if deny_undecorated else "",
        )
    if deny_undecorated:
        deny_undecorated_routes(app, prefix)


def _get_protections(view: object) -> tuple[RouteProtection, ...]:
    found: RouteProtection | None = getattr(view, PROTECTION_ATTRIBUTE, None)
    return () if found is None else (found,)
