"""Checks of an app with ``Valetkey`` or ``ResourceServer``: at initialization, and before the first request.

Commands that check or serve an app use them, too.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from valetkey.protocol.protected_resource import RESOURCE_METADATA_PATH
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limit_settings import PlanBudget
from valetkey.settings import Settings, SettingsError

from .guard.misplaced_decorators import find_misplaced_decorators
from .limit_validation import limit_problems
from .routes import HasRoutes, iter_routes, warn_undecorated_routes

_log = logging.getLogger("valetkey")
_CHANGE_A_PATH = (
    "Change oauth_path, account_path, device_path, personal_access_tokens_path, docs_path, openapi_path or "
    "llms_txt_path, or set api_catalog or security_contact off"
)
_REMOVE_THE_ROUTE = "Remove the app's route, because RFC 9728 §3 defines this path"


class _HasExtensions(Protocol):
    """The attribute of a Flask app that lists its extensions."""

    extensions: dict[str, Any]


def check_not_initialized(app: _HasExtensions, extension_name: str) -> None:
    """Check that neither ``Valetkey`` nor ``ResourceServer`` was initialized with an app before.

    :param extension_name: the key of both in ``app.extensions``.
    :raises SettingsError: if one of them was.
    """
    if extension_name in app.extensions:
        raise SettingsError("this app already has a Valetkey or a ResourceServer: initialize one of them only, once")


def route_problems(
    app: HasRoutes, settings: Settings, budgets: Mapping[str, PlanBudget] | None, user_limit: Limit | None
) -> list[str]:
    """Return an error message for each path, rate limit or cost that conflicts with another, and for each decorator
    without effect; empty if there is none.

    :param budgets: limit and quota of each plan; ``None`` for an app with a ``ResourceServer``, which knows no plans.
    :param user_limit: limit of each user over all apps; ``None`` if there is none.
    """
    limits = limit_problems(iter_routes(app), settings, budgets, user_limit)
    return [*path_problems(app), *decorator_problems(app), *limits]


def check_routes(
    app: HasRoutes, settings: Settings, budgets: Mapping[str, PlanBudget] | None, user_limit: Limit | None
) -> None:
    """Check the routes of an app, and warn about those that do not say who may call them, or need an unknown scope.

    Call it before the first request, when the app has all its routes.

    :param budgets: as for ``route_problems``, and ``user_limit``, too.
    :raises SettingsError: if paths or rate limits conflict, or a decorator has no effect; the message lists all
        problems.
    """
    problems = route_problems(app, settings, budgets, user_limit)
    if problems:
        raise SettingsError("\n".join(problems))
    warn_undecorated_routes(app, settings.api_prefix, are_denied=settings.protect_by_default)
    if budgets is not None:  # other authorization servers define the scopes of an app with a ResourceServer
        for problem in unknown_scopes(app, settings.scopes):
            _log.warning("%s; until then, calls are refused", problem)


def unknown_scopes(app: HasRoutes, scopes: Collection[str]) -> list[str]:
    """Return an error message for each scope that a route needs but the setting ``scopes`` does not contain.

    :param scopes: the names of the scopes that clients can request.
    """
    needed = {(route.endpoint, scope) for route in iter_routes(app) for scope in route.scopes if scope not in scopes}
    return [
        f"the route {endpoint} needs the scope {scope!r}, which is not in scopes={{...}}: add it there"
        + "".join(f", or did you mean {name!r}?" for name in get_close_matches(scope, scopes, n=1))
        for endpoint, scope in sorted(needed)
    ]


def path_problems(app: HasRoutes) -> list[str]:
    """Return an error message for each path that both Valetkey and the host app serve; empty if there is none."""
    valetkey_rules: dict[tuple[str, str], str] = {}
    host_rules: dict[tuple[str, str], str] = {}
    for rule in app.url_map.iter_rules():
        rules = valetkey_rules if rule.endpoint.startswith("valetkey_") else host_rules
        for method in rule.methods or ():
            if method not in {"OPTIONS", "HEAD"}:
                rules[(rule.rule, method)] = rule.endpoint
    return [
        f"{path} is served by Valetkey and by the app's endpoint {host_rules[path, method]!r}. "
        + (_REMOVE_THE_ROUTE if path.startswith(RESOURCE_METADATA_PATH) else _CHANGE_A_PATH)
        for path, method in sorted(valetkey_rules.keys() & host_rules.keys())
    ]


def decorator_problems(app: HasRoutes) -> list[str]:
    """Return an error message for each ``@require_oauth`` or ``@public`` without effect; empty if there is none."""
    paths = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}
    return [
        f"{paths.get(name, name)}: {decorator} has no effect above the decorator that registers the function, such as "
        "@app.get: write it below, next to the function"
        for name, decorator in find_misplaced_decorators(app).items()
    ]
