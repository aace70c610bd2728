"""Exemptions from Flask-WTF's ``CSRFProtect``, which requires the host app's CSRF token for every POST request."""

from __future__ import annotations

import functools
from typing import Any

from flask import Flask, current_app, g, request

from .own_endpoints import is_own_blueprint
from .route_protection import list_protections

_EXEMPTS_CALLS = "_valetkey_exempts_calls"  # attribute of the function that replaces ``CSRFProtect.protect``


def exempt_from_csrf_protect(app: Flask) -> None:
    """Exempt Valetkey's pages, which have their own CSRF tokens, and calls with an access token.

    A call is exempt if it has a bearer token and its view requires one: browsers do not send this header by themselves,
    as they do cookies. Other requests to the same view are not exempt. Does nothing if the app has no ``CSRFProtect``.
    Call it when the app has all its extensions.
    """
    csrf: Any = app.extensions.get("csrf")
    if not hasattr(csrf, "exempt") or not hasattr(csrf, "protect"):
        return
    for blueprint in app.blueprints.values():
        if is_own_blueprint(blueprint):
            csrf.exempt(blueprint)
    protect = csrf.protect
    if hasattr(protect, _EXEMPTS_CALLS):  # the object protects several apps
        return

    @functools.wraps(protect)
    def protect_unless_token_is_required(*args: Any, **kwargs: Any) -> None:
        if _is_call_with_token(current_app._get_current_object()):  # type: ignore[attr-defined] # of the proxy
            g.csrf_valid = True  # for Flask-WTF's forms in the view
        else:
            protect(*args, **kwargs)

    setattr(protect_unless_token_is_required, _EXEMPTS_CALLS, True)
    csrf.protect = protect_unless_token_is_required


def _is_call_with_token(app: Flask) -> bool:
    """Return whether the current request has a bearer token, which the guard of its view verifies and requires."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    view = app.view_functions.get(request.endpoint or "")
    if scheme.lower() != "bearer" or not token.strip() or view is None or request.endpoint is None:
        return False
    protections = list_protections(app, request.endpoint, view, request.method)
    return any(not protection.optional and not protection.is_public for protection in protections)
