"""The Flask extension ``Valetkey``: registers endpoints, pages and route protection in the host app."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Unpack
from urllib.parse import urlsplit

from flask import Flask

from .accounts.mail_links import ACCOUNT_MAIL_JOB, deliver_mail_link
from .activity.log import set_up_log
from .api_helpers.body_size import limit_bodies
from .api_helpers.cors import PreflightMiddleware, make_cors_hook
from .authorization_server.authorize.fast_path import AuthorizeMiddleware
from .authorization_server.clients.service import register_cli_client
from .authorization_server.clients.unused import prune_unused_clients
from .authorization_server.end_owner import end_owner
from .authorization_server.endpoints import ENDPOINTS, METADATA, OPENID_CONFIGURATION
from .authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB, deliver_logout_token
from .authorization_server.openid.session_logout import logout_statements
from .authorization_server.owner_mail import OWNER_MAIL_JOB, deliver_owner_mail
from .authorization_server.personal_tokens.reminders import queue_reminders
from .authorization_server.views import make_blueprints
from .developer_portal.docs_client import register_docs_client
from .developer_portal.views import make_blueprints as make_developer_portal_blueprints
from .developer_portal.well_known import API_CATALOG_PATH, SECURITY_TXT_PATH
from .endpoint import Endpoint
from .federation.logout_endpoint import make_logout_endpoint
from .openapi.document import load_or_build_document
from .protocol.protected_resource import RESOURCE_METADATA_PATH
from .protocol.resource_owner import ResourceOwners
from .resource_owner.device.views import make_blueprint as make_device_blueprint
from .resource_owner.logout.views import make_blueprint as make_logout_blueprint
from .resource_owner.passwords.views import make_blueprint as make_passwords_blueprint
from .resource_owner.providers.views import make_blueprint as make_providers_blueprint
from .resource_owner.tokens.views import make_blueprint as make_tokens_blueprint
from .resource_owner.views import make_blueprint as make_resource_owner_blueprint
from .resource_server.guard.charging import finish_call
from .resource_server.guard.csrf_protect import exempt_from_csrf_protect
from .resource_server.guard.repeated_refusals import RepeatedRefusalMiddleware
from .resource_server.guard.undecorated_routes import guard_undecorated_routes
from .resource_server.limits_endpoint import make_endpoint as make_limits_endpoint
from .resource_server.routes import iter_routes
from .resource_server.start_checks import check_not_initialized, check_routes
from .resource_server.views import make_blueprint as make_metadata_blueprint
from .runtime import Runtime
from .settings import Settings, SettingsError
from .settings.arguments import ValetkeyArguments
from .settings.environment import DEFAULT_PREFIX, log_environment
from .settings.sources import find_sources
from .storage.engine.transaction import StoreUnavailable
from .web.apiflask import hide_from_apiflask
from .web.context import EXTENSION
from .web.endpoint_adapters import EndpointMiddleware, machine_view
from .web.error_handlers import render_unhandled_errors, request_is_own
from .web.flask_bypass import BYPASS_EXTENSION, FlaskBypass, list_hooks
from .web.health import HealthMiddleware
from .web.host_check import HostCheck
from .web.host_migrations import hide_tables_from_migrate
from .web.host_options import check_cookie_names, do_not_trap_own_errors, own_rules
from .web.host_resource_owners import HostResourceOwners, make_resource_owners
from .web.middleware import IssuerPathMiddleware, Middleware, ResponseHookMiddleware, add_middleware
from .web.page_headers import enforce_headers
from .web.refused_call import RefusedCallMiddleware
from .web.repeated_slashes import RepeatedSlashesMiddleware
from .web.request_body import BodyRecordingMiddleware
from .web.request_id import make_request_id_hook
from .web.resource_owners import BuiltInAccounts
from .web.security_headers import make_security_headers_hook
from .web.server_readiness import ServerReadiness
from .web.static_files import blueprint as static_files_blueprint
from .web.wsgi import before_first_request, is_below


class Valetkey:
    """Flask extension that turns an app into a public API with its own OAuth 2.0 authorization server.

    It adds the OAuth endpoints, the pages for users and developers, protection of routes and rate limits::

        valetkey = Valetkey(app, scopes={"profile": "See your name"})

    With an app factory, create it without an app and call ``init_app`` later. The extension's state is in
    ``app.extensions["valetkey"]``; the ``Valetkey`` object only stores its arguments, so it can be used for several
    apps.

    :param app: the Flask app; omit it to call ``init_app`` later.
    :param scopes: the scopes of the API, each with the text that the consent page shows for it.
    :param resource_owner: the accounts of your app's users: an object with the methods of ``ResourceOwners``, or a
        function that returns the user id (the ``sub`` of tokens) of the signed-in user, or ``None``. With an additional
        method ``sign_out()``, apps can sign users out (OpenID Connect RP-Initiated Logout). By default, Valetkey has
        its own accounts.
    :param openapi: function that returns the OpenAPI document that APIFlask, flask-smorest or flask-openapi generates
        for the app. The API reference shows it with security and limits added. By default, the document is built from
        the routes.
    :param clock: function that returns the current time in seconds since 1970; for tests.
    :param env_prefix: prefix of the environment variables that settings are read from, in which the setting ``issuer``
        is named ``VALETKEY_ISSUER``. Use another prefix for a second app in one process. ``None`` to read none.
    :param settings: any field of ``Settings``. These arguments take precedence over the environment, which takes
        precedence over ``app.config``, in which the setting ``issuer`` is named ``VALETKEY_ISSUER``, too.
    :raises SettingsError: if ``app`` is passed and the settings are invalid; see ``init_app``.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        scopes: Mapping[str, str] | None = None,
        resource_owner: ResourceOwners | Callable[[], str | None] | None = None,
        openapi: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.time,
        env_prefix: str | None = DEFAULT_PREFIX,
        **settings: Unpack[ValetkeyArguments],
    ) -> None:
        self._options: dict[str, Any] = {**settings, **({"scopes": scopes} if scopes is not None else {})}
        self._resource_owner = resource_owner
        self._openapi = openapi
        self._clock = clock
        self._env_prefix = env_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension in an app. Does no I/O: the database is opened on the first request.

        Call it after loading the app's configuration. Routes may be added before or after it.

        :raises SettingsError: if the settings are invalid, and the message lists all problems; or if the app has a
            ``Valetkey`` or ``ResourceServer`` already.
        """
        check_not_initialized(app, EXTENSION)
        check_cookie_names(app)
        has_built_in_accounts = self._resource_owner is None
        sources = find_sources(self._options, app.config, self._env_prefix, built_in_accounts=has_built_in_accounts)
        with sources.naming_variables():
            settings = sources.read()
            set_up_log(settings.log_level, settings.log_format)
            log_environment(sources.environment)
            if settings.sign_in_with and not has_built_in_accounts:
                raise SettingsError("sign_in_with is for Valetkey's own accounts: remove it, or resource_owner")
            owners = make_resource_owners(self._resource_owner, settings.sign_in_url)
            runtime = app.extensions[EXTENSION] = make_runtime(settings, owners, self._clock)
        runtime.sources = sources
        runtime.app_context = app.app_context
        runtime.build_openapi_document = partial(load_or_build_document, app, self._openapi)
        host_hooks = list_hooks(app)
        with own_rules(app, settings):
            _register_routes(app, runtime)
        hide_from_apiflask(app)
        guard_undecorated_routes(app, settings.api_prefix, deny_undecorated=settings.protect_by_default)
        render_unhandled_errors(app, settings)
        do_not_trap_own_errors(app, partial(request_is_own, settings))
        host_check = HostCheck(settings, sources.environment.variable("issuer"))
        host_check.install(app)
        if settings.max_body:
            limit_bodies(app, settings.api_prefix, settings.max_body)
        app.extensions[BYPASS_EXTENSION] = bypass = FlaskBypass(app, host_hooks)
        add_middleware(app, *_list_middleware(app, runtime, host_check, bypass))
        before_first_request(app, _make_startup_check(app, runtime))

    @staticmethod
    def revoke_owner(app: Flask, sub: str) -> None:
        """Revoke everything that a user of your app has granted to clients, for example when you disable the account.

        Access tokens, refresh tokens and personal access tokens of the user are rejected within a second, and clients
        that registered for it are sent logout tokens. Sessions of a built-in account go on. The user can grant access
        again: to prevent it, let ``ResourceOwners.find`` return ``None`` for the account. Needs no request or
        application context.

        :param app: an app that this extension was initialized with.
        :param sub: the user id, as ``resource_owner`` returns it.
        """
        runtime: Runtime = app.extensions[EXTENSION]
        end_owner(runtime, sub, runtime.clock())

    @staticmethod
    def end_session(app: Flask, sub: str, sid: str) -> None:
        """Notify clients that a user has signed out of your app (OpenID Connect Back-Channel Logout).

        Clients that registered a ``backchannel_logout_uri`` and were used in this session are sent logout tokens; their
        grants with ``openid`` and without ``offline_access`` are revoked.

        :param app: an app that this extension was initialized with.
        :param sub: the user id.
        :param sid: the session id, as in ``Owner.sid``.
        """
        runtime: Runtime = app.extensions[EXTENSION]
        runtime.store.write_all(*logout_statements(sub, sid, runtime, runtime.clock(), None))


def make_runtime(settings: Settings, owners: ResourceOwners, clock: Callable[[], float]) -> Runtime:
    """Return the shared objects of an app, complete with handlers of background jobs and hourly tasks.

    Higher layers provide these functions, and those that register built-in clients in a new database.

    :param owners: the accounts of users: the host app's, or Valetkey's own.
    :param clock: returns the current time in seconds since 1970.
    """
    runtime = Runtime(settings, owners, clock=clock)
    runtime.job_handlers |= {
        LOGOUT_TOKEN_JOB: partial(deliver_logout_token, runtime),
        OWNER_MAIL_JOB: partial(deliver_owner_mail, runtime),
    }
    runtime.hourly_tasks += (partial(queue_reminders, runtime), partial(prune_unused_clients, runtime))
    runtime.on_store_created += [register_cli_client, register_docs_client]
    if isinstance(owners, BuiltInAccounts):
        owners.runtime, runtime.has_built_in_accounts = runtime, True
    runtime.checks_owners = isinstance(owners, HostResourceOwners) and owners.can_find
    return runtime


def _list_middleware(app: Flask, runtime: Runtime, host_check: HostCheck, bypass: FlaskBypass) -> Iterator[Middleware]:
    """Yield the WSGI middleware of an app, outermost first: each class says why it is at its place."""
    settings, owners = runtime.settings, runtime.owners
    hooks = [finish_call(runtime), enforce_headers, *host_check.response_hooks]
    if settings.request_ids:
        hooks.append(make_request_id_hook(settings.api_prefix))
    is_allowed_origin = None if settings.cors == "any" else partial(_is_registered_origin, app, host_check)
    if settings.cors != "off":
        hooks.append(make_cors_hook(settings.api_prefix, is_allowed_origin))
    hooks.append(make_security_headers_hook(settings.issuer))

    issuer_path = urlsplit(settings.issuer).path
    yield RepeatedSlashesMiddleware(_list_own_paths(settings), settings.issuer, issuer_path)
    if issuer_path:
        yield IssuerPathMiddleware(issuer_path, (*settings.own_paths, settings.api_prefix))
    if settings.health_path or settings.readiness_path:
        yield HealthMiddleware(app, settings, ServerReadiness(runtime))
    if settings.endpoints_bypass_flask:
        yield EndpointMiddleware(app, runtime, _name_machine_endpoints(app, settings), host_check, bypass)
    yield ResponseHookMiddleware(*hooks)
    if settings.endpoints_bypass_flask and isinstance(owners, BuiltInAccounts):
        yield AuthorizeMiddleware(runtime, owners, f"{settings.oauth_path}/authorize", host_check, bypass)
    if settings.cors != "off":
        yield PreflightMiddleware(app, settings.api_prefix, is_allowed_origin)
    if settings.endpoints_bypass_flask:
        yield RepeatedRefusalMiddleware(app, runtime, host_check, bypass)
    yield RefusedCallMiddleware()
    yield BodyRecordingMiddleware(settings.own_paths)


def _list_own_paths(settings: Settings) -> tuple[str, ...]:
    """Return the paths of Valetkey's endpoints, pages and documents; all paths below them are its own, too."""
    documents = [settings.openapi_path, settings.llms_txt_path]
    documents += [API_CATALOG_PATH] if settings.api_catalog else []
    documents += [SECURITY_TXT_PATH] if settings.security_contact is not None else []
    metadata = (METADATA.path, OPENID_CONFIGURATION.path, RESOURCE_METADATA_PATH)
    return (*settings.own_paths, *metadata, *(path for path in documents if path is not None))


def _name_machine_endpoints(app: Flask, settings: Settings) -> dict[str, tuple[str, Endpoint]]:
    """Return the machine endpoints that can be handled before Flask, with their names in Flask, by their full paths.

    Those without variable parts in their paths, and not below the path of the API, whose hooks add headers to them.
    """
    limits = make_limits_endpoint(lambda: iter_routes(app))
    below_oauth_path = {f"{settings.oauth_path}{endpoint.path}": endpoint for endpoint in (*ENDPOINTS, limits)}
    endpoints = {**below_oauth_path, METADATA.path: METADATA, OPENID_CONFIGURATION.path: OPENID_CONFIGURATION}
    return {
        path: (_machine_endpoint_name(endpoint), endpoint)
        for path, endpoint in endpoints.items()
        if "<" not in path and not is_below(settings.api_prefix, path)
    }


def _machine_endpoint_name(endpoint: Endpoint) -> str:
    return f"valetkey_machines.{endpoint.name.replace('-', '_')}"


def _register_routes(app: Flask, runtime: Runtime) -> None:
    """Add the URL rules of all endpoints and pages to an app."""
    settings = runtime.settings
    built_in_accounts = runtime.has_built_in_accounts
    issuer_path = urlsplit(settings.issuer).path  # an issuer may have a path (RFC 8414 §3.1)
    endpoints_blueprint, authorize_blueprint = make_blueprints()
    app.register_blueprint(endpoints_blueprint, url_prefix=settings.oauth_path)
    app.register_blueprint(authorize_blueprint, url_prefix=settings.oauth_path)
    app.register_blueprint(make_resource_owner_blueprint(settings, built_in_accounts=built_in_accounts))
    if runtime.supports_sign_out:
        app.register_blueprint(make_logout_blueprint(), url_prefix=settings.oauth_path)
    if built_in_accounts:
        app.register_blueprint(make_passwords_blueprint(), url_prefix=settings.account_pages_path)
        app.register_blueprint(make_providers_blueprint(), url_prefix=settings.sign_in_path)
        logout = make_logout_endpoint(f"{settings.sign_in_path}/<provider_id>/back-channel-logout")
        _add_machine_route(app, logout.path, logout)
        runtime.job_handlers[ACCOUNT_MAIL_JOB] = partial(deliver_mail_link, runtime)
    if settings.device_path is not None:
        app.register_blueprint(make_device_blueprint(settings.device_path))
    if settings.tokens_path is not None:
        app.register_blueprint(make_tokens_blueprint(settings.tokens_path))
    app.register_blueprint(make_metadata_blueprint(runtime.list_resources))
    for portal_blueprint in make_developer_portal_blueprints(runtime):
        app.register_blueprint(portal_blueprint)
    app.register_blueprint(static_files_blueprint, url_prefix=f"{settings.oauth_path}/pages")
    limits = make_limits_endpoint(lambda: iter_routes(app))
    _add_machine_route(app, f"{settings.oauth_path}{limits.path}", limits)
    _add_machine_route(app, METADATA.path, METADATA)
    _add_machine_route(app, OPENID_CONFIGURATION.path, OPENID_CONFIGURATION)
    if issuer_path:
        _add_machine_route(app, f"{METADATA.path}{issuer_path}", METADATA)


def _add_machine_route(app: Flask, path: str, endpoint: Endpoint) -> None:
    name = _machine_endpoint_name(endpoint)
    view = app.view_functions.get(name) or machine_view(endpoint)
    app.add_url_rule(path, name, view, methods=["GET", "OPTIONS", "POST"], provide_automatic_options=False)


def _make_startup_check(app: Flask, runtime: Runtime) -> Callable[[], None]:
    """Return the function that checks the app.

    Call it before the first request, when the app has all its routes and extensions. It raises ``SettingsError`` as
    ``check_routes`` does.
    """
    finish_hiding_tables = hide_tables_from_migrate(app)

    def check_app() -> None:
        # The host may have disabled the logger since.
        set_up_log(runtime.settings.log_level, runtime.settings.log_format)
        check_routes(app, runtime.settings, runtime.plan_budgets)
        exempt_from_csrf_protect(app)
        finish_hiding_tables()

    return check_app


def _is_registered_origin(app: Flask, host_check: HostCheck, origin: str) -> bool:
    """Return whether a client that runs in browsers (client policy ``browser``) is registered for a web origin.

    Return ``False`` if the database is unavailable, or if the host of the current request is refused.
    """
    runtime: Runtime = app.extensions[EXTENSION]
    if host_check.refuses_current_request():
        return False
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        return runtime.origins.is_registered(origin, runtime.clock())
    except StoreUnavailable:
        return False
