"""Find the scopes and limits of a route: those of the view's own decorators, else those of ``protect``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Never, Protocol, TypeVar, Unpack

from flask import Blueprint

from valetkey.resource_server.protection import (
    PROTECTION_ATTRIBUTE,
    ProtectionOptions,
    RouteProtection,
    build_protection,
    check_arguments,
    read_scope,
)
from valetkey.web.class_views import get_called_method

from .misplaced_decorators import iter_wrapped
from .require_oauth import bucket_name

_BLUEPRINT_ATTRIBUTE = "__valetkey_protect__"  # attribute of a blueprint: its BlueprintProtection
B = TypeVar("B", bound=Blueprint)
View = Callable[..., Any]


class HasViews(Protocol):
    """The attributes of a Flask app that are needed to find its views and what protects them."""

    view_functions: dict[str, Any]

    @property
    def blueprints(self) -> Any: ...


class BlueprintProtection:
    """What ``protect`` requires of the callers of a blueprint's views. Each view has its own ``RouteProtection``.

    :param scope: the scopes that the token must have, as in ``require_oauth``.
    :param options: the keyword arguments of ``require_oauth``.
    :raises ValueError: if an argument is invalid.
    """

    def __init__(self, scope: str | Sequence[str] | None, options: ProtectionOptions) -> None:
        self._scope = read_scope(scope)
        build_protection(self._scope, bucket="", **options)  # raises here if an argument is invalid
        self._options = options
        # By endpoint and id of the view. The view is stored too: while it is, no other object has its id.
        self._protections: dict[tuple[str, int], tuple[View, RouteProtection]] = {}

    def for_view(self, endpoint: str, view: View) -> RouteProtection:
        """Return the protection of one view, the same object at each call."""
        key = endpoint, id(view)
        entry = self._protections.get(key)
        if entry is None:
            protection = build_protection(self._scope, bucket=bucket_name(view), **self._options)
            entry = self._protections.setdefault(key, (view, protection))
        return entry[1]


def protect(
    blueprint: B, scope: str | Sequence[str] | None = None, *others: Never, **options: Unpack[ProtectionOptions]
) -> B:
    """Require a valid access token to call any view of a blueprint, whether it is added before or after this call.

    A view's own ``@public`` or ``@require_oauth`` takes precedence, and so does ``protect`` of a blueprint nested in
    this one. ``limit`` is a separate budget for each view, unless it is a ``RateLimit`` with a group.

    The token is checked just before the view: ``before_request`` functions run earlier, also those of the blueprint.
    Decorate one with ``@require_oauth`` if it needs ``current_token``.

    :param blueprint: the ``flask.Blueprint``, or an object of a subclass. What it requires is checked at each call.
    :param scope: the scopes that the token must have, as in ``require_oauth``.
    :param options: the keyword arguments of ``require_oauth``.
    :returns: ``blueprint``, which is also changed in place.
    :raises TypeError: if ``blueprint`` is something else, such as the app, or if there is no such argument.
    :raises ValueError: if an argument is invalid.
    """
    if not isinstance(blueprint, Blueprint):
        raise TypeError(
            f"protect() takes a flask.Blueprint, and not a {type(blueprint).__name__}: decorate the views with "
            "@require_oauth, or add them to a Blueprint"
        )
    check_arguments("protect", others, options, ["scope", *ProtectionOptions.__annotations__])
    setattr(blueprint, _BLUEPRINT_ATTRIBUTE, BlueprintProtection(scope, options))
    return blueprint


def get_protection(view: Any) -> RouteProtection | None:
    """Return what a decorator of the view, or of a method of a class-based view, requires; ``None`` if nothing does."""
    protection = getattr(view, PROTECTION_ATTRIBUTE, None)
    return protection if isinstance(protection, RouteProtection) else None


def list_own_protections(view: View, http_method: str) -> tuple[RouteProtection, ...]:
    """Return what the decorators of a view require of calls with an HTTP method, outermost first; empty if there are
    none.

    A class-based view can be decorated as a whole (``decorators``), at ``dispatch_request`` and at its methods. The
    decorators of methods count only if the class does not dispatch requests itself.
    """
    view_class = getattr(view, "view_class", None)
    decorated: list[Any] = [view]
    if view_class is not None:
        decorated += [getattr(view_class, "dispatch_request", None), get_called_method(view_class, http_method)]
    protections = (get_protection(function) for item in decorated for function in iter_wrapped(item))
    # Decorators of other packages repeat the protection of what they wrap.
    return tuple(dict.fromkeys(protection for protection in protections if protection is not None))


def find_blueprint_protection(app: HasViews, endpoint: str, view: View) -> RouteProtection | None:
    """Return what ``protect`` of the endpoint's innermost protected blueprint requires, or ``None``.

    Endpoints in nested blueprints are named ``outer.inner.view``.
    """
    name = endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        protection: BlueprintProtection | None = getattr(app.blueprints.get(name), _BLUEPRINT_ATTRIBUTE, None)
        if protection is not None:
            return protection.for_view(endpoint, view)
    return None


def list_protections(app: HasViews, endpoint: str, view: View, http_method: str) -> tuple[RouteProtection, ...]:
    """Return everything that a call of a view must pass, outermost first; empty if the route is undecorated."""
    own = list_own_protections(view, http_method)
    if own:
        return own
    protection = find_blueprint_protection(app, endpoint, view)
    return () if protection is None else (protection,)
