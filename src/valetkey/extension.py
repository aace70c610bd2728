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
from .authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB, deliver_logout_token
from .authorization_server.openid.session_logout import SESSION_LOGOUT_JOB, log_out_session, logout_statements
from .authorization_server.owner_mail import OWNER_MAIL_JOB, deliver_owner_mail
from .authorization_server.personal_tokens.reminders import queue_reminders
from .developer_portal.docs_client import register_docs_client
from .openapi.document import load_or_build_document
from .protocol.resource_owner import ResourceOwners
from .resource_server.guard.charging import finish_call
from .resource_server.guard.csrf_protect import exempt_from_csrf_protect
from .resource_server.guard.repeated_refusals import RepeatedRefusalMiddleware
from .resource_server.guard.undecorated_routes import guard_undecorated_routes
from .resource_server.start_checks import check_not_initialized, check_routes
from .runtime import Runtime
from .settings import Settings, SettingsError
from .settings.arguments import ValetkeyArguments
from .settings.environment import DEFAULT_PREFIX, log_environment
from .settings.sources import find_sources
from .storage.engine.transaction import StoreUnavailable
from .url_rules import list_own_paths, name_machine_endpoints, register_url_rules
from .web.apiflask import hide_from_apiflask
from .web.context import EXTENSION
from .web.endpoint_adapters import EndpointMiddleware
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
from .web.wsgi import Environ, before_first_request


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
            owners = make_resource_owners(self._resource_owner, settings.sign_in_url, app)
            runtime = app.extensions[EXTENSION] = make_runtime(settings, owners, self._clock)
        runtime.sources = sources
        runtime.app_name = app.name
        runtime.code_settings = sources.names_in_code(settings)
        if not has_built_in_accounts:
            runtime.code_settings |= {"resource_owner"}
        runtime.build_openapi_document = partial(load_or_build_document, app, self._openapi)
        host_hooks = list_hooks(app)
        with own_rules(app, settings):
            register_url_rules(app, runtime)
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
        that registered for it are sent logout tokens. Sessions of Valetkey's own accounts stay active. The user can
        grant access again: to prevent it, let ``ResourceOwners.find`` return ``None`` for the account. Needs no request
        or application context.

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
        SESSION_LOGOUT_JOB: partial(log_out_session, runtime),
        OWNER_MAIL_JOB: partial(deliver_owner_mail, runtime),
    }
    runtime.hourly_tasks += (partial(queue_reminders, runtime), partial(prune_unused_clients, runtime))
    runtime.on_store_created += [register_cli_client, register_docs_client]
    if isinstance(owners, BuiltInAccounts):
        owners.runtime, runtime.has_built_in_accounts = runtime, True
        runtime.job_handlers[ACCOUNT_MAIL_JOB] = partial(deliver_mail_link, runtime)
    runtime.can_find_host_users = isinstance(owners, HostResourceOwners) and owners.can_find
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
    yield RepeatedSlashesMiddleware(list_own_paths(settings), settings.issuer, issuer_path)
    if issuer_path:
        yield IssuerPathMiddleware(issuer_path, (*settings.own_paths, settings.api_prefix))
    if settings.health_path or settings.readiness_path:
        yield HealthMiddleware(app, settings, ServerReadiness(app, runtime))
    if settings.endpoints_bypass_flask:
        yield EndpointMiddleware(app, runtime, name_machine_endpoints(app, settings), host_check, bypass)
    yield ResponseHookMiddleware(app, *hooks)
    if settings.endpoints_bypass_flask and isinstance(owners, BuiltInAccounts):
        yield AuthorizeMiddleware(runtime, owners, f"{settings.oauth_path}/authorize", host_check, bypass)
    if settings.cors != "off":
        yield PreflightMiddleware(app, settings.api_prefix, is_allowed_origin)
    if settings.endpoints_bypass_flask:
        yield RepeatedRefusalMiddleware(app, runtime, host_check, bypass)
    yield RefusedCallMiddleware()
    yield BodyRecordingMiddleware(settings.own_paths)


def _make_startup_check(app: Flask, runtime: Runtime) -> Callable[[], None]:
    """Return the function that checks the app.

    Call it before the first request, when the app has all its routes and extensions. It raises ``SettingsError`` as
    ``check_routes`` does.
    """
    finish_hiding_tables = hide_tables_from_migrate(app)

    def check_app() -> None:
        # The host may have disabled the logger since.
        set_up_log(runtime.settings.log_level, runtime.settings.log_format)
        check_routes(app, runtime.settings, runtime.plan_budgets, runtime.admission.user_limit)
        exempt_from_csrf_protect(app)
        finish_hiding_tables()

    return check_app


def _is_registered_origin(app: Flask, host_check: HostCheck, environ: Environ, origin: str) -> bool:
    """Return whether a client that runs in browsers (client policy ``browser``) is registered for a web origin.

    Return ``False`` if the database is unavailable, or if the host of the request is refused.
    """
    runtime: Runtime = app.extensions[EXTENSION]
    if host_check.would_refuse(environ):
        return False
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        return runtime.origins.is_registered(origin, runtime.clock())
    except StoreUnavailable:
        return False
