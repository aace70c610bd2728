"""The check in front of every view that has neither ``@require_oauth`` nor ``@public``.

``protect`` of its blueprint applies to it; else calls are denied if ``protect_by_default`` is set.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Flask, Request, request

from valetkey.protocol.errors import Forbidden
from valetkey.resource_server.protection import build_protection
from valetkey.web.problem_responses import refuse
from valetkey.web.refused_call import refuse_call, respond_to_refused_calls
from valetkey.web.wsgi import before_first_request, is_below

from .own_endpoints import CHECKED_ATTRIBUTE, is_valetkey_endpoint
from .require_oauth import check_call
from .route_protection import find_blueprint_protection, get_protection, list_own_protections

# A call that is always refused is charged to no limit and no quota, as one whose token lacks a scope.
_ANY_TOKEN = replace(build_protection(None, bucket="valetkey.denied"), cost=0)


def guard_undecorated_routes(app: Flask, prefix: str, *, deny_undecorated: bool) -> None:
    """Check each call of an undecorated view: just before Flask calls it, with the rule and view that Flask found.

    So it does not matter when the route was added, how its rule is written or which methods its class has. Views with
    own decorators are guarded by these.

    Extensions such as Flask-DebugToolbar replace ``app.dispatch_request``. The replacement is guarded before the first
    request.

    :param prefix: path of the API, such as ``/api``.
    :param deny_undecorated: whether calls at ``prefix`` or below are refused if the view is
        neither protected nor public.
    """

    def guard(dispatch_request: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(dispatch_request)
        def check_and_dispatch(*args: Any, **kwargs: Any) -> Any:
            current: Request = request._get_current_object()  # type: ignore[attr-defined]  # typed as Request, not as a proxy
            rule = current.url_rule
            view = None if rule is None else app.view_functions.get(rule.endpoint)
            if view is not None and get_protection(view) is None and CHECKED_ATTRIBUTE not in vars(current):
                setattr(current, CHECKED_ATTRIBUTE, True)
                _check_undecorated(app, current, view, prefix, deny_undecorated)
            return dispatch_request(*args, **kwargs)

        return respond_to_refused_calls(app, check_and_dispatch)

    guarded = guard(app.dispatch_request)

    def guard_replacement() -> None:
        """Guard what another extension has put in the place of our function, which may not call ours."""
        if app.dispatch_request is not guarded:
            app.dispatch_request = guard(app.dispatch_request)  # type: ignore[method-assign]  # as below

    app.dispatch_request = guarded  # type: ignore[method-assign]  # Flask has no hook just before the view
    for name in ("preprocess_request", "handle_user_exception"):  # hooks and error handlers may be decorated, too
        setattr(app, name, respond_to_refused_calls(app, getattr(app, name)))
    before_first_request(app, guard_replacement)


def _check_undecorated(app: Flask, current: Request, view: Any, prefix: str, deny_undecorated: bool) -> None:
    """Check the call of a view that is not decorated itself.

    :raises CallRefused: if the call is refused.
    """
    rule = current.url_rule
    assert rule is not None
    if list_own_protections(view, current.method):
        return
    if current.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return  # Flask responds without the view
    protection = find_blueprint_protection(app, rule.endpoint, view)
    if protection is not None:
        check_call(protection, current)
        return
    if not deny_undecorated or is_valetkey_endpoint(app, rule.endpoint):
        return
    if is_below(prefix, rule.rule) or is_below(prefix, current.path):
        check_call(_ANY_TOKEN, current)
        cause = Forbidden("access to this route is denied: it has neither @require_oauth nor @public")
        raise refuse_call(current.environ, _ANY_TOKEN, refuse(cause))
