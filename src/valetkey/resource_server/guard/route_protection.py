"""Whom routes are for that say nothing themselves: their blueprint's ``protect``, or nobody."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from flask import Response, request

from valetkey.activity.refusals import log_refusal
from valetkey.protocol.errors import Forbidden
from valetkey.resource_server.protection import BY_METHOD, CLOSED, PROTECTION
from valetkey.web.context import current_route
from valetkey.web.problem_responses import problem
from valetkey.web.request_id import reference

from .class_views import methods_of
from .require_oauth import require_oauth

_PROTECT = "__valetkey_protect__"  # the attribute of a blueprint that holds the decorator for its views
B = TypeVar("B")
View = Callable[..., Any]


class App(Protocol):
    """What is read and changed of a Flask app."""

    view_functions: dict[str, Any]

    @property
    def blueprints(self) -> Any: ...


def protect(blueprint: B, scope: str | Sequence[str] | None = None, **asked: Any) -> B:
    """Let all views of a blueprint be called with a good access token only, whenever they are added.

    What a view says itself (``@public``, ``@require_oauth``) counts instead, and so does ``protect`` of a blueprint
    nested in this one. Each view has a limit of its own. The arguments are those of ``require_oauth``.

    :returns: the blueprint.
    :raises ValueError: where the arguments cannot be read.
    """
    setattr(blueprint, _PROTECT, require_oauth(scope, **asked))
    return blueprint


def apply_protect(app: App) -> None:
    """Put the guards of protected blueprints before their views; once for each view, however often it is called."""
    for endpoint, view in list(app.view_functions.items()):
        decorate = _decorator_for(app, endpoint)
        if decorate is not None:
            app.view_functions[endpoint] = _decorated(view, decorate)


def close_undecided(app: App, prefix: str) -> None:
    """Refuse every call of a route below the prefix about which nobody said whom it is for."""
    for endpoint, view in list(app.view_functions.items()):
        if not endpoint.startswith("valetkey_"):
            app.view_functions[endpoint] = _decorated(view, functools.partial(_close, prefix))


def _decorator_for(app: App, endpoint: str) -> Callable[[View], View] | None:
    """What the nearest blueprint around an endpoint says; endpoints are named ``outer.inner.view``."""
    name = endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        found: Callable[[View], View] | None = getattr(app.blueprints.get(name), _PROTECT, None)
        if found is not None:
            return found
    return None


def _decorated(view: View, decorate: Callable[[View], View]) -> View:
    """The view with the decorator, where it or each of its methods has not said otherwise."""
    if any(hasattr(view, mark) for mark in (PROTECTION, BY_METHOD, CLOSED)):
        return view
    methods = methods_of(view)
    undecided = {name for name, method in methods.items() if not hasattr(method, PROTECTION)}
    if len(undecided) == len(methods):
        return decorate(view)
    return _by_method(view, decorate(view), frozenset(undecided)) if undecided else view


def _by_method(view: View, guarded: View, undecided: frozenset[str]) -> View:
    """A class of views of which only some methods say whom they are for."""

    @functools.wraps(view)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        method = "GET" if request.method == "HEAD" else request.method
        return (guarded if method in undecided else view)(*args, **kwargs)

    asked = getattr(guarded, PROTECTION, None)
    setattr(chosen, BY_METHOD, {} if asked is None else dict.fromkeys(undecided, asked))
    if asked is None:
        setattr(chosen, CLOSED, undecided)
    return chosen


def _close(prefix: str, view: View) -> View:
    refused = require_oauth(_refuse)

    @functools.wraps(view)
    def closed(*args: Any, **kwargs: Any) -> Any:
        path = request.url_rule.rule if request.url_rule else request.path
        return refused() if path == prefix or path.startswith(f"{prefix}/") else view(*args, **kwargs)

    setattr(closed, CLOSED, frozenset())
    return closed


def _refuse() -> Response:
    refusal = Forbidden("this route is closed: its publisher has not said whom it is for")
    log_refusal(refusal, reference(), current_route())
    return problem(refusal.status, refusal.description)
