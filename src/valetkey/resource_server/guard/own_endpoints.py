"""Valetkey's own endpoints and pages, which check their callers themselves: a guard for the app's views skips them."""

from __future__ import annotations

from typing import Any

from flask import Flask, Request

from valetkey.resource_server.protection import PROTECTION_ATTRIBUTE

_OWN_MODULES = "valetkey."  # the modules that create Valetkey's own blueprints
_OWN_BLUEPRINTS = "valetkey_"  # the names of these blueprints begin with this
CHECKED_ATTRIBUTE = "_valetkey_checked"  # of a request whose undecorated view is called next: it is checked once


def is_valetkey_endpoint(app: Any, endpoint: str) -> bool:
    """Return whether an endpoint is one of Valetkey's own, whatever the host app names its endpoints."""
    if "." not in endpoint:
        return False
    return is_own_blueprint(app.blueprints.get(endpoint.rpartition(".")[0]))


def is_own_blueprint(blueprint: Any) -> bool:
    """Return whether a blueprint is one of Valetkey's own."""
    return str(getattr(blueprint, "import_name", "")).startswith(_OWN_MODULES)


def is_hook_before_own_endpoint(app: Flask, current: Request, endpoint: str) -> bool:
    """Return whether a guard runs before one of Valetkey's own views, in a ``before_request`` function of the app.

    False if the app has put the guard around that view: then the guard is meant for it.
    """
    if not endpoint.startswith(_OWN_BLUEPRINTS) or not is_valetkey_endpoint(app, endpoint):
        return False
    is_guarded_view = hasattr(app.view_functions.get(endpoint), PROTECTION_ATTRIBUTE)
    return not is_guarded_view and CHECKED_ATTRIBUTE not in vars(current)
