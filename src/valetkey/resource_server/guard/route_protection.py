"""Protection of routes that have neither ``@require_oauth`` nor ``@public``.

``protect`` of their blueprint applies to them; else calls are denied if ``protect_by_default`` is set.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from flask import Response, request

from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.errors import Forbidden
from valetkey.resource_server.protection import (
    DENIED_METHODS_ATTRIBUTE,
    PROTECTION_ATTRIBUTE,
    PROTECTION_BY_METHOD_ATTRIBUTE,
)
from valetkey.web.context import current_route
from valetkey.web.problem_responses import problem
from valetkey.web.request_id import request_id

from .class_views import get_view_methods
from .require_oauth import require_oauth

_DECORATOR_ATTRIBUTE = "__valetkey_protect__"  # attribute of a blueprint: the decorator for its views
B = TypeVar("B")
View = Callable[..., Any]


class HasViews(Protocol):
    """The attributes of a Flask app that are needed to find and decorate its views."""

    view_functions: dict[str, Any]

    @property
    def blueprints(self) -> Any: ...


def protect(blueprint: B, scope: str | Sequence[str] | None = None, **options: Any) -> B:
    """Require a valid access token to call any view of a blueprint, whether it is added before or after this call.

    A view's own ``@public`` or ``@require_oauth`` takes precedence, and so does ``protect`` of a blueprint nested in
    this one. ``limit`` is a separate budget for each view, unless it is a ``RateLimit`` with a group.

    :param blueprint: the ``flask.Blueprint``; views are guarded at the app's first request.
    :param scope: the scopes that the token must have, as in ``require_oauth``.
    :param options: the keyword arguments of ``require_oauth``.
    :returns: ``blueprint``, which is also changed in place.
    :raises ValueError: if an argument is invalid.
    """
    setattr(blueprint, _DECORATOR_ATTRIBUTE, require_oauth(scope, **options))
    return blueprint


def apply_blueprint_protection(app: HasViews) -> None:
    """Put ``require_oauth`` in front of the undecorated views of blueprints that were passed to ``protect``.

    Each view is decorated once, also if this is called again.
    """
    for endpoint, view in list(app.view_functions.items()):
        decorate = _find_blueprint_decorator(app, endpoint)
        if decorate is not None:
            app.view_functions[endpoint] = _decorate_view(view, decorate)


def deny_undecorated_routes(app: HasViews, prefix: str) -> None:
    """Deny all calls of routes at ``prefix`` or below that have no ``@require_oauth``, ``@public`` or ``protect``."""
    for endpoint, view in list(app.view_functions.items()):
        if not endpoint.startswith("valetkey_"):
            app.view_functions[endpoint] = _decorate_view(view, functools.partial(_deny_view, prefix))


def _find_blueprint_decorator(app: HasViews, endpoint: str) -> Callable[[View], View] | None:
    """Return the decorator that ``protect`` set on the endpoint's innermost protected blueprint, or ``None``.

    Endpoints in nested blueprints are named ``outer.inner.view``.
    """
    name = endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        decorate: Callable[[View], View] | None = getattr(app.blueprints.get(name), _DECORATOR_ATTRIBUTE, None)
        if decorate is not None:
            return decorate
    return None


def _decorate_view(view: View, decorate: Callable[[View], View]) -> View:
    """Return the view with ``decorate`` applied, unless it is protected or public already.

    Of a class-based view, only the methods that are not protected or public are decorated.
    """
    if any(
        hasattr(view, name) for name in (PROTECTION_ATTRIBUTE, PROTECTION_BY_METHOD_ATTRIBUTE, DENIED_METHODS_ATTRIBUTE)
    ):
        return view
    methods = get_view_methods(view)
    undecorated = {name for name, method in methods.items() if not hasattr(method, PROTECTION_ATTRIBUTE)}
    if len(undecorated) == len(methods):
        return decorate(view)
    return _decorate_methods(view, decorate(view), frozenset(undecorated)) if undecorated else view


def _decorate_methods(view: View, guarded: View, undecorated: frozenset[str]) -> View:
    """Return a class-based view that calls ``guarded`` for the HTTP methods in ``undecorated``, else ``view``."""

    @functools.wraps(view)
    def dispatch(*args: Any, **kwargs: Any) -> Any:
        method = "GET" if request.method == "HEAD" else request.method
        return (guarded if method in undecorated else view)(*args, **kwargs)

    protection = getattr(guarded, PROTECTION_ATTRIBUTE, None)
    setattr(
        dispatch, PROTECTION_BY_METHOD_ATTRIBUTE, {} if protection is None else dict.fromkeys(undecorated, protection)
    )
    if protection is None:
        setattr(dispatch, DENIED_METHODS_ATTRIBUTE, undecorated)
    return dispatch


def _deny_view(prefix: str, view: View) -> View:
    deny = require_oauth(_make_denied_response)

    @functools.wraps(view)
    def denied(*args: Any, **kwargs: Any) -> Any:
        path = request.url_rule.rule if request.url_rule else request.path
        return deny() if path == prefix or path.startswith(f"{prefix}/") else view(*args, **kwargs)

    setattr(denied, DENIED_METHODS_ATTRIBUTE, frozenset())
    return denied


def _make_denied_response() -> Response:
    refusal = Forbidden("access to this route is denied: its publisher has not declared who may call it")
    log_refusal(refusal, request_id(), current_route())
    return problem(refusal.status, refusal.description)
