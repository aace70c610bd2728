"""A Flask app as a resource server alone: it takes access tokens that other servers issued."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, current_app, request

from .resource_server.guard.require_oauth import finish_call
from .resource_server.issuers.config import TrustedIssuer
from .resource_server.metadata import METADATA_HEADERS, WELL_KNOWN, build_metadata_document
from .resource_server.routes import iter_routes, protect_routes
from .resource_server.standalone_context import StandaloneContext, build_context
from .settings import SettingsError
from .settings.sources import config_values
from .web.context import EXTENSION
from .web.error_handlers import render_unhandled_errors
from .web.request_id import make_request_id_hook
from .web.wsgi import add_response_hooks, before_first_request


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
        self._options = {**settings, **{name: value for name, value in given.items() if value is not None}}
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the resource server to an app; no file is opened and nobody is connected to.

        :raises SettingsError: with every problem together.
        """
        if EXTENSION in app.extensions:
            raise SettingsError("this app has a Valetkey or a ResourceServer already: it takes one of them, once")
        world = build_context(self._options, config_values(app.config), self._clock)
        app.extensions[EXTENSION] = world
        app.register_blueprint(_make_blueprint())
        before_first_request(app, _before_first_request(app, world))
        render_unhandled_errors(app, world.settings)
        steps = [finish_call(world)]
        if world.settings.request_ids:
            steps.append(make_request_id_hook(world.settings.api_prefix))
        add_response_hooks(app, *steps)


def _before_first_request(app: Flask, context: StandaloneContext) -> Callable[[], None]:
    """Looks at the app when it has all its routes."""

    def look_around() -> None:
        protect_routes(app, context.settings.api_prefix, deny_undecorated=context.settings.protect_by_default)
        by_plan = [
            route.path for route in iter_routes(app) for one in route.protections if one.limit and one.limit.is_by_plan
        ]
        if by_plan:
            raise SettingsError(f"limits by plan, at {', '.join(by_plan)}, need the server that knows the plans")

    return look_around


def _make_blueprint() -> Blueprint:
    """The protected resource metadata (RFC 9728 §3) of the API, and of each route's own ``resource=``."""
    blueprint = Blueprint("valetkey_resource_server", __name__)
    blueprint.add_url_rule(WELL_KNOWN, "metadata", _serve_metadata)
    blueprint.add_url_rule(f"{WELL_KNOWN}/<path:path>", "metadata", _serve_metadata)
    return blueprint


def _serve_metadata(path: str = "") -> Response:
    world: StandaloneContext = current_app.extensions[EXTENSION]
    scopes = _scopes_by_resource(world)
    wanted = path.strip("/")
    here = [one for one in scopes if urlsplit(one).path.strip("/") == wanted]
    if not here:
        abort(404)
    resource = min(here, key=lambda one: urlsplit(one).netloc != request.host)
    document = build_metadata_document(resource, world.settings.name, world.issuers, scopes[resource])
    return Response(document, 200, list(METADATA_HEADERS))


def _scopes_by_resource(context: StandaloneContext) -> dict[str, set[str]]:
    """Which scopes the routes of each resource name; those that the publisher listed are the API's."""
    scopes = {context.settings.api_resource: set(context.settings.scopes)}
    for route in iter_routes(current_app):
        for one in route.protections:
            named: set[str] = set().union(*one.scope_alternatives)
            scopes.setdefault(one.resource or context.settings.api_resource, set()).update(named)
    return scopes
