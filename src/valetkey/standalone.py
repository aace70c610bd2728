"""The Flask extension for an app that is only a resource server: it accepts access tokens of other issuers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Unpack

from flask import Flask

from .activity.log import set_up_log
from .developer_portal.standalone.views import make_blueprint as make_developer_portal_blueprint
from .openapi.document import load_or_build_document
from .protocol.protected_resource import ProtectedResource
from .resource_server.guard.charging import finish_call
from .resource_server.guard.csrf_protect import exempt_from_csrf_protect
from .resource_server.guard.undecorated_routes import guard_undecorated_routes
from .resource_server.issuers.config import TrustedIssuer
from .resource_server.routes import iter_routes
from .resource_server.standalone_context import StandaloneContext, build_context
from .resource_server.start_checks import check_not_initialized, check_routes
from .resource_server.views import make_blueprint as make_metadata_blueprint
from .settings.arguments import ResourceServerArguments
from .settings.environment import DEFAULT_PREFIX, log_environment
from .web.apiflask import hide_from_apiflask
from .web.context import EXTENSION
from .web.error_handlers import render_unhandled_errors
from .web.health import HealthMiddleware
from .web.issuer_readiness import IssuerReadiness
from .web.middleware import Middleware, ResponseHookMiddleware, add_middleware
from .web.page_headers import enforce_headers
from .web.refused_call import RefusedCallMiddleware
from .web.request_id import make_request_id_hook
from .web.security_headers import make_security_headers_hook
from .web.static_files import blueprint as static_files_blueprint
from .web.wsgi import ResponseHook, before_first_request


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
    :param openapi: as for ``Valetkey``. The security schemes come from the metadata of the issuers.
    :param clock: function that returns the current time in seconds since 1970; for tests.
    :param env_prefix: prefix of the environment variables that settings are read from: those that are not passed as
        keywords. ``None`` to read none.
    :param settings: ``scopes``, ``site_name``, ``api_prefix``, ``api_version``, ``api_description``, ``docs_path``,
        ``openapi_path``, ``health_path``, ``readiness_path``, ``protect_by_default``, ``problem_details``,
        ``request_ids``, ``rate_limit_fields``, ``clock_leeway``, ``trusted_proxies``, ``outbound_allowed_networks``,
        ``outbound_ca_file``, ``log_level`` and ``log_format`` as in ``Settings``. Set ``redis_url`` or ``data_dir`` to
        count rate limits across all processes; otherwise each process counts for itself.
    :raises SettingsError: if ``app`` is passed and the settings are invalid; see ``init_app``.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        trusted_issuers: Sequence[str | TrustedIssuer] | None = None,
        resource: str | None = None,
        openapi: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.time,
        env_prefix: str | None = DEFAULT_PREFIX,
        **settings: Unpack[ResourceServerArguments],
    ) -> None:
        arguments = {"trusted_issuers": trusted_issuers, "resource": resource}
        self._options = {**settings, **{name: value for name, value in arguments.items() if value is not None}}
        self._openapi = openapi
        self._clock = clock
        self._env_prefix = env_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension in an app. Does no I/O: issuers are contacted when the first token arrives.

        Call it after loading the app's configuration. Routes may be added before or after it.

        :raises SettingsError: if the settings are invalid, and the message lists all problems; or if the app has a
            ``Valetkey`` or ``ResourceServer`` already.
        """
        check_not_initialized(app, EXTENSION)
        context = build_context(self._options, app.config, self._clock, self._env_prefix)
        set_up_log(context.settings.log_level, context.settings.log_format)
        log_environment(context.sources.environment)
        app.extensions[EXTENSION] = context
        context.build_openapi_document = partial(load_or_build_document, app, self._openapi)
        app.register_blueprint(make_metadata_blueprint(partial(_list_resources, app, context)))
        app.register_blueprint(make_developer_portal_blueprint(context))
        if context.settings.docs_path is not None:
            app.register_blueprint(static_files_blueprint, url_prefix=f"{context.settings.docs_path}/pages")
        hide_from_apiflask(app)
        # Again: the host may have disabled the logger since.
        before_first_request(app, partial(set_up_log, context.settings.log_level, context.settings.log_format))
        before_first_request(app, partial(exempt_from_csrf_protect, app))
        before_first_request(app, partial(check_routes, app, context.settings, None, context.admission.user_limit))
        guard_undecorated_routes(app, context.settings.api_prefix, deny_undecorated=context.settings.protect_by_default)
        render_unhandled_errors(app, context.settings)
        response_hooks = [finish_call(context), enforce_headers]
        if context.settings.request_ids:
            response_hooks.append(make_request_id_hook(context.settings.api_prefix))
        response_hooks.append(make_security_headers_hook(context.settings.api_resource))
        add_middleware(app, *_list_middleware(app, context, response_hooks))


def _list_middleware(
    app: Flask, context: StandaloneContext, response_hooks: Sequence[ResponseHook]
) -> Iterator[Middleware]:
    """Yield the WSGI middleware of an app, outermost first."""
    if context.settings.health_path or context.settings.readiness_path:
        readiness = IssuerReadiness(
            app, context.find_issuers_without_metadata, context.admission.limiter, context.clock
        )
        yield HealthMiddleware(app, context.settings, readiness)
    yield ResponseHookMiddleware(app, *response_hooks)
    yield RefusedCallMiddleware()


def _list_resources(app: Flask, context: StandaloneContext) -> list[ProtectedResource]:
    """Return the API, and each other resource that a route names with ``@require_oauth(resource=...)``.

    The scopes of a resource are those that its routes require. The API also has all scopes of the setting ``scopes``.
    """
    api_resource = context.settings.api_resource
    scopes = {api_resource: set(context.settings.scopes)}
    for route in iter_routes(app):
        for protection in route.protections:
            required: set[str] = set().union(*protection.scope_alternatives)
            scopes.setdefault(protection.resource or api_resource, set()).update(required)
    issuers, name = context.trusted_issuers, context.settings.name
    return [ProtectedResource(url, name, issuers, names) for url, names in scopes.items()]
