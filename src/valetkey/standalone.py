"""The Flask extension for an app that is only a resource server: it accepts access tokens of other issuers."""

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
    """Flask extension that protects routes with access tokens of other authorization servers.

    For example::

        ResourceServer(app, trusted_issuers=["https://login.example"], resource="https://api.example")

    With an app factory, create it without an app and call ``init_app`` later. ``require_oauth``, ``public`` and
    ``current_token`` work as with ``Valetkey``. It needs no database. Its state is in ``app.extensions["valetkey"]``,
    so one object can be used for several apps.

    :param app: the Flask app; omit it to call ``init_app`` later.
    :param trusted_issuers: the issuers whose tokens are accepted: issuer identifiers (URLs), or ``TrustedIssuer``
        objects to set options.
    :param resource: the resource identifier of this API (RFC 8707 §2): tokens must have it as their audience.
    :param clock: function that returns the current time in seconds since 1970; for tests.
    :param settings: ``scopes``, ``site_name``, ``api_prefix``, ``protect_by_default``, ``problem_details``,
        ``request_ids``, ``rate_limit_fields``, ``clock_leeway``, ``trusted_proxies``, ``outbound_allowed_networks`` and
        ``outbound_ca_file`` as in ``Settings``. Set ``redis_url`` or ``data_dir`` to count rate limits across all
        processes; otherwise each process counts by itself.
    :raises SettingsError: if ``app`` is passed and the settings are invalid; see ``init_app``.
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
        arguments = {"trusted_issuers": trusted_issuers, "resource": resource}
        self._options = {**settings, **{name: value for name, value in arguments.items() if value is not None}}
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension in an app. Does no I/O: issuers are contacted when the first token arrives.

        Call it after loading the app's configuration. Routes may be added before or after it.

        :raises SettingsError: if the settings are invalid, and the message lists all problems; or if the app has a
            ``Valetkey`` or ``ResourceServer`` already.
        """
        if EXTENSION in app.extensions:
            raise SettingsError(
                "this app already has a Valetkey or a ResourceServer: initialize one of them only, once"
            )
        context = build_context(self._options, config_values(app.config), self._clock)
        app.extensions[EXTENSION] = context
        app.register_blueprint(_make_blueprint())
        before_first_request(app, _make_startup_check(app, context))
        render_unhandled_errors(app, context.settings)
        response_hooks = [finish_call(context)]
        if context.settings.request_ids:
            response_hooks.append(make_request_id_hook(context.settings.api_prefix))
        add_response_hooks(app, *response_hooks)


def _make_startup_check(app: Flask, context: StandaloneContext) -> Callable[[], None]:
    """Return the function that protects the routes of the app.

    Call it before the first request, when the app has all its routes. It raises ``SettingsError`` if the rate limit of
    a route depends on the client's plan, which only the authorization server knows.
    """

    def check_app() -> None:
        protect_routes(app, context.settings.api_prefix, deny_undecorated=context.settings.protect_by_default)
        paths = [
            route.path
            for route in iter_routes(app)
            for protection in route.protections
            if protection.limit and protection.limit.is_by_plan
        ]
        if paths:
            raise SettingsError(
                f"the limits of {', '.join(paths)} depend on the client's plan, which only the authorization server "
                "knows: use limits without plans, or Valetkey instead of ResourceServer"
            )

    return check_app


def _make_blueprint() -> Blueprint:
    """Return the blueprint that serves the protected resource metadata (RFC 9728 §3).

    There is one document for the API, and one for each other resource identifier that a route names with
    ``@require_oauth(resource=...)``.
    """
    blueprint = Blueprint("valetkey_resource_server", __name__)
    blueprint.add_url_rule(WELL_KNOWN, "metadata", _serve_metadata)
    blueprint.add_url_rule(f"{WELL_KNOWN}/<path:path>", "metadata", _serve_metadata)
    return blueprint


def _serve_metadata(path: str = "") -> Response:
    context: StandaloneContext = current_app.extensions[EXTENSION]
    scopes = _scopes_by_resource(context)
    resource_path = path.strip("/")
    candidates = [resource for resource in scopes if urlsplit(resource).path.strip("/") == resource_path]
    if not candidates:
        abort(404)
    resource = min(candidates, key=lambda candidate: urlsplit(candidate).netloc != request.host)
    document = build_metadata_document(resource, context.settings.name, context.issuers, scopes[resource])
    return Response(document, 200, list(METADATA_HEADERS))


def _scopes_by_resource(context: StandaloneContext) -> dict[str, set[str]]:
    """Return the scopes of each resource identifier: those that the routes of the resource require.

    The API itself, the setting ``resource``, also has all scopes of the setting ``scopes``.
    """
    scopes = {context.settings.api_resource: set(context.settings.scopes)}
    for route in iter_routes(current_app):
        for protection in route.protections:
            required: set[str] = set().union(*protection.scope_alternatives)
            scopes.setdefault(protection.resource or context.settings.api_resource, set()).update(required)
    return scopes
