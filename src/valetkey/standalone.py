"""A Flask app as a resource server alone: it takes access tokens that other servers issued."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, current_app, request

from .resource_server.guard.require_oauth import finish_call
from .resource_server.issuers.config import TrustedIssuer
from .resource_server.metadata import HEADERS, WELL_KNOWN, metadata_document
from .resource_server.routes import decide_routes, routes_of
from .resource_server.standalone_context import OwnWorld, make_world
from .settings import SettingsError
from .settings.sources import config_values
from .web.context import EXTENSION
from .web.error_handlers import answer_errors
from .web.request_id import add_request_id
from .web.wsgi import finish_answers, once_before_all


class ResourceServer:
    """Protected routes for tokens of any issuer: ``ResourceServer(app, trusted_issuers=[...], resource=...)``.

    Or ``ResourceServer(...)``, and ``init_app`` later. ``require_oauth``, ``public`` and ``current_token`` are the
    same as under ``Valetkey``. The state is in ``app.extensions["valetkey"]``, so one object serves several apps.

    :param trusted_issuers: whose tokens are good: issuer identifiers, or ``TrustedIssuer`` where more is to be said.
    :param resource: what this API is called (RFC 8707 §2): tokens must name it as their audience.
    :param settings: ``scopes``, ``site_name``, ``api_prefix``, ``protect_by_default``, ``problem_details``,
        ``request_ids``, ``rate_limit_fields``, ``clock_leeway``, ``trusted_proxies``, ``outbound_allowed_networks`` and
        ``outbound_ca_file`` as in ``Settings``; ``redis_url`` or ``data_dir`` to count limits there, for all processes
        together. Without them each process counts for itself.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        trusted_issuers: Sequence[str | TrustedIssuer] | None = None,
        resource: str | None = None,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        given = {"trusted_issuers": trusted_issuers, "resource": resource}
        self._given = {**settings, **{name: value for name, value in given.items() if value is not None}}
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the resource server to an app; no file is opened and nobody is connected to.

        :raises SettingsError: with every problem together.
        """
        if EXTENSION in app.extensions:
            raise SettingsError("this app has a Valetkey or a ResourceServer already: it takes one of them, once")
        world = make_world(self._given, config_values(app.config), self._clock)
        app.extensions[EXTENSION] = world
        app.register_blueprint(_make_blueprint())
        once_before_all(app, _before_first_request(app, world))
        answer_errors(app, world.settings)
        steps = [finish_call(world)]
        if world.settings.request_ids:
            steps.append(add_request_id(world.settings.api_prefix))
        finish_answers(app, *steps)


def _before_first_request(app: Flask, world: OwnWorld) -> Callable[[], None]:
    """Looks at the app when it has all its routes."""

    def look_around() -> None:
        decide_routes(app, world.settings.api_prefix, close=world.settings.protect_by_default)
        by_plan = [
            route.path for route in routes_of(app) for one in route.protections if one.limit and one.limit.is_by_plan
        ]
        if by_plan:
            raise SettingsError(f"limits by plan, at {', '.join(by_plan)}, need the server that knows the plans")

    return look_around


def _make_blueprint() -> Blueprint:
    """The protected resource metadata (RFC 9728 §3) of the API, and of each route's own ``resource=``."""
    blueprint = Blueprint("valetkey_resource_server", __name__)
    blueprint.add_url_rule(WELL_KNOWN, "metadata", _metadata)
    blueprint.add_url_rule(f"{WELL_KNOWN}/<path:path>", "metadata", _metadata)
    return blueprint


def _metadata(path: str = "") -> Response:
    world: OwnWorld = current_app.extensions[EXTENSION]
    scopes = _scopes_by_resource(world)
    wanted = path.strip("/")
    here = [one for one in scopes if urlsplit(one).path.strip("/") == wanted]
    if not here:
        abort(404)
    resource = min(here, key=lambda one: urlsplit(one).netloc != request.host)
    document = metadata_document(resource, world.settings.name, world.issuers, scopes[resource])
    return Response(document, 200, list(HEADERS))


def _scopes_by_resource(world: OwnWorld) -> dict[str, set[str]]:
    """Which scopes the routes of each resource name; those that the publisher listed are the API's."""
    scopes = {world.settings.api_resource: set(world.settings.scopes)}
    for route in routes_of(current_app):
        for one in route.protections:
            named: set[str] = set().union(*one.alternatives)
            scopes.setdefault(one.resource or world.settings.api_resource, set()).update(named)
    return scopes
