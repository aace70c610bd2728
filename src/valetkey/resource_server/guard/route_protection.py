"""Whom routes are for that say nothing themselves: their blueprint's ``protect``, or nobody."""

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

_DECORATOR_ATTRIBUTE = "__valetkey_protect__"  # the attribute of a blueprint that holds the decorator for its views
B = TypeVar("B")
View = Callable[..., Any]


class HasViews(Protocol):
    """What is read and changed of a Flask app."""

    view_functions: dict[str, Any]

    @property
    def blueprints(self) -> Any: ...


def protect(blueprint: B, scope: str | Sequence[str] | None = None, **options: Any) -> B:
    """Let all views of a blueprint be called with a good access token only, whenever they are added.

    What a view says itself (``@public``, ``@require_oauth``) counts instead, and so does ``protect`` of a blueprint
    nested in this one. Each view has a limit of its own. The arguments are those of ``require_oauth``.

    :returns: the blueprint.
    :raises ValueError: where the arguments cannot be read.
    """
    setattr(blueprint, _DECORATOR_ATTRIBUTE, require_oauth(scope, **options))
    return blueprint


def apply_blueprint_protection(app: HasViews) -> None:
    """Put the guards of protected blueprints before their views; once for each view, however often it is called."""
    for endpoint, view in list(app.view_functions.items()):
        decorate = _find_blueprint_decorator(app, endpoint)
        if decorate is not None:
            app.view_functions[endpoint] = _decorate_view(view, decorate)


def deny_undecorated_routes(app: HasViews, prefix: str) -> None:
    """Refuse every call of a route below the prefix about which nobody said whom it is for."""
    for endpoint, view in list(app.view_functions.items()):
        if not endpoint.startswith("valetkey_"):
            app.view_functions[endpoint] = _decorate_view(view, functools.partial(_deny_view, prefix))


def _find_blueprint_decorator(app: HasViews, endpoint: str) -> Callable[[View], View] | None:
    """What the nearest blueprint around an endpoint says; endpoints are named ``outer.inner.view``."""
    name = endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        found: Callable[[View], View] | None = getattr(app.blueprints.get(name), _DECORATOR_ATTRIBUTE, None)
        if found is not None:
            return found
    return None


def _decorate_view(view: View, decorate: Callable[[View], View]) -> View:
    """The view with the decorator, where it or each of its methods has not said otherwise."""
    if any(
        hasattr(view, mark) for mark in (PROTECTION_ATTRIBUTE, PROTECTION_BY_METHOD_ATTRIBUTE, DENIED_METHODS_ATTRIBUTE)
    ):
        return view
    methods = get_view_methods(view)
    undecided = {name for name, method in methods.items() if not hasattr(method, PROTECTION_ATTRIBUTE)}
    if len(undecided) == len(methods):
        return decorate(view)
    return _decorate_methods(view, decorate(view), frozenset(undecided)) if undecided else view


def _decorate_methods(view: View, guarded: View, undecorated: frozenset[str]) -> View:
    """A class of views of which only some methods say whom they are for."""

    @functools.wraps(view)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        method = "GET" if request.method == "HEAD" else request.method
        return (guarded if method in undecorated else view)(*args, **kwargs)

    asked = getattr(guarded, PROTECTION_ATTRIBUTE, None)
    setattr(chosen, PROTECTION_BY_METHOD_ATTRIBUTE, {} if asked is None else dict.fromkeys(undecorated, asked))
    if asked is None:
        setattr(chosen, DENIED_METHODS_ATTRIBUTE, undecorated)
    return chosen


def _deny_view(prefix: str, view: View) -> View:
    refused = require_oauth(_make_denied_response)

    @functools.wraps(view)
    def closed(*args: Any, **kwargs: Any) -> Any:
        path = request.url_rule.rule if request.url_rule else request.path
        return refused() if path == prefix or path.startswith(f"{prefix}/") else view(*args, **kwargs)

    setattr(closed, DENIED_METHODS_ATTRIBUTE, frozenset())
    return closed


def _make_denied_response() -> Response:
    refusal = Forbidden("this route is closed: its publisher has not said whom it is for")
    log_refusal(refusal, request_id(), current_route())
    return problem(refusal.status, refusal.description)
