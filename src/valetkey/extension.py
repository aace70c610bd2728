"""The Flask extension ``Valetkey``: registers endpoints, pages and route protection in the host app."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from .accounts.mail_links import ACCOUNT_MAIL_JOB, deliver_mail_link
from .api_helpers.body_size import limit_bodies
from .api_helpers.cors import set_up_cors
from .authorization_server.clients.service import register_cli_client
from .authorization_server.clients.unused import prune_unused_clients
from .authorization_server.endpoints import ENDPOINTS, METADATA, OPENID_CONFIGURATION
from .authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB, deliver_logout_token
from .authorization_server.openid.session_logout import logout_statements, owner_logout_statements
from .authorization_server.owner_mail import OWNER_MAIL_JOB, deliver_owner_mail
from .authorization_server.personal_tokens.reminders import queue_reminders
from .authorization_server.views import add_authorize_fast_path, make_blueprints
from .developer_portal.docs_client import register_docs_client
from .developer_portal.views import make_blueprints as make_developer_portal_blueprints
from .endpoint import Endpoint
from .openapi.document import load_or_build_document
from .protocol.resource_owner import ResourceOwners
from .protocol.uri import is_loopback_host
from .resource_owner.device.views import make_blueprint as make_device_blueprint
from .resource_owner.logout.views import make_blueprint as make_logout_blueprint
from .resource_owner.passwords.views import make_blueprint as make_passwords_blueprint
from .resource_owner.tokens.views import make_blueprint as make_tokens_blueprint
from .resource_owner.views import make_blueprint as make_resource_owner_blueprint
from .resource_server.guard.require_oauth import finish_call
from .resource_server.guard.views import make_blueprint as make_resource_server_blueprint
from .resource_server.limit_validation import limit_problems
from .resource_server.limits_endpoint import make_endpoint as make_limits_endpoint
from .resource_server.routes import iter_routes, protect_routes
from .runtime import Runtime
from .settings import Settings, SettingsError
from .settings.sources import command_values, config_values, ignored_variables, read_settings
from .storage import change_feed, grants, personal_access_tokens
from .storage.engine.transaction import StoreUnavailable
from .web.context import EXTENSION
from .web.endpoint_adapters import machine_view, serve_before_flask
from .web.error_handlers import render_unhandled_errors
from .web.host_migrations import hide_tables_from_migrate
from .web.pages import blueprint as pages_blueprint
from .web.pages import make_page_headers_hook
from .web.request_id import make_request_id_hook
from .web.resource_owners import BuiltInAccounts, CallableResourceOwners
from .web.wsgi import add_response_hooks, before_first_request, mount_at

_log = logging.getLogger("valetkey")


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
    :param settings: any field of ``Settings``. These arguments take precedence over ``app.config``, where the setting
        ``issuer`` is named ``VALETKEY_ISSUER``.
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
        **settings: Any,
    ) -> None:
        self._options = {**settings, **({"scopes": scopes} if scopes is not None else {})}
        self._resource_owner = resource_owner
        self._openapi = openapi
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension in an app. Does no I/O: the database is opened on the first request.

        Call it after loading the app's configuration. Routes may be added before or after it.

        :raises SettingsError: if the settings are invalid; the message lists all problems.
        """
        from_command, fallbacks = command_values()
        settings = read_settings(
            ("", self._options), ("VALETKEY_", from_command), ("VALETKEY_", config_values(app.config)), ("", fallbacks)
        )
        owners = _make_resource_owners(self._resource_owner, settings.sign_in_url)
        runtime = app.extensions[EXTENSION] = make_runtime(settings, owners, self._clock)
        runtime.app_context = app.app_context
        runtime.build_openapi_document = partial(load_or_build_document, app, self._openapi)
        built_in_accounts = runtime.has_built_in_accounts
        issuer_path = urlsplit(settings.issuer).path  # an issuer may have a path (RFC 8414 §3.1)
        endpoints_blueprint, authorize_blueprint = make_blueprints()
        app.register_blueprint(endpoints_blueprint, url_prefix=settings.oauth_path)
        app.register_blueprint(authorize_blueprint, url_prefix=settings.oauth_path)
        app.register_blueprint(
            make_resource_owner_blueprint(
                settings.oauth_path, settings.account_path, built_in_accounts=built_in_accounts
            )
        )
        if runtime.supports_sign_out:
            app.register_blueprint(make_logout_blueprint(), url_prefix=settings.oauth_path)
        if built_in_accounts:
            account_path = settings.account_path or f"{settings.oauth_path}/account"
            app.register_blueprint(make_passwords_blueprint(), url_prefix=account_path)
            runtime.job_handlers[ACCOUNT_MAIL_JOB] = partial(deliver_mail_link, runtime)
        if settings.device_path is not None:
            app.register_blueprint(make_device_blueprint(settings.device_path))
        if settings.tokens_path is not None:
            app.register_blueprint(make_tokens_blueprint(settings.tokens_path))
        app.register_blueprint(make_resource_server_blueprint())
        for portal_blueprint in make_developer_portal_blueprints(runtime):
            app.register_blueprint(portal_blueprint)
        app.register_blueprint(pages_blueprint, url_prefix=f"{settings.oauth_path}/pages")
        limits = make_limits_endpoint(lambda: iter_routes(app))
        _add_machine_route(app, f"{settings.oauth_path}{limits.path}", limits)
        _add_machine_route(app, METADATA.path, METADATA)
        _add_machine_route(app, OPENID_CONFIGURATION.path, OPENID_CONFIGURATION)
        if issuer_path:
            _add_machine_route(app, f"{METADATA.path}{issuer_path}", METADATA)
        _hide_from_apiflask(app)
        render_unhandled_errors(app, settings)
        response_hooks = [finish_call(runtime), make_page_headers_hook(settings.issuer)]
        if settings.request_ids:
            response_hooks.append(make_request_id_hook(settings.api_prefix))
        if settings.cors != "off":
            is_allowed_origin = None if settings.cors == "any" else partial(_is_registered_origin, app)
            response_hooks.append(set_up_cors(app, settings.api_prefix, is_allowed_origin))
        if settings.endpoints_bypass_flask and isinstance(owners, BuiltInAccounts):
            add_authorize_fast_path(app, runtime, owners, f"{settings.oauth_path}/authorize")
        add_response_hooks(app, *response_hooks)
        if settings.endpoints_bypass_flask:
            oauth_endpoints = {f"{settings.oauth_path}{endpoint.path}": endpoint for endpoint in (*ENDPOINTS, limits)}
            metadata_endpoints = {endpoint.path: endpoint for endpoint in (METADATA, OPENID_CONFIGURATION)}
            serve_before_flask(app, runtime, oauth_endpoints | metadata_endpoints)
        if issuer_path:
            mounted = mount_at(issuer_path, app.wsgi_app, settings.own_paths)
            app.wsgi_app = mounted  # type: ignore[method-assign,assignment]  # Flask documents wrapping wsgi_app so
        if settings.max_body:
            limit_bodies(app, settings.api_prefix, settings.max_body)
        before_first_request(app, _make_startup_check(app, runtime))

    @staticmethod
    def revoke_owner(app: Flask, sub: str) -> None:
        """Revoke everything that a user of your app has granted to clients, for example when you disable the account.

        Access tokens, refresh tokens and personal access tokens of the user are rejected within a second, and clients
        that registered for it are sent logout tokens. The user can grant access again: to prevent it, let
        ``ResourceOwners.find`` return ``None`` for the account. Needs no request or application context.

        :param app: an app that this extension was initialized with.
        :param sub: the user id, as ``resource_owner`` returns it.
        """
        runtime: Runtime = app.extensions[EXTENSION]
        now = runtime.clock()
        runtime.revoke(
            *owner_logout_statements(sub, runtime, now),
            grants.revoke_all_of_owner(sub, now),
            personal_access_tokens.revoke_all_of_owner(sub, now),
            change_feed.add("owner", sub, now, runtime.revocation_expiry),
        )

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
        runtime.revoke(*logout_statements(sub, sid, runtime, runtime.clock(), None))


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
    return runtime


def _hide_from_apiflask(app: Flask) -> None:
    """Exclude Valetkey's blueprints from the OpenAPI document of an APIFlask app.

    APIFlask reads the attribute ``enable_openapi`` of every blueprint; without APIFlask it has no effect.
    """
    for name, blueprint in app.blueprints.items():
        if name.startswith("valetkey_"):
            vars(blueprint)["enable_openapi"] = False


def _add_machine_route(app: Flask, path: str, endpoint: Endpoint) -> None:
    name = f"valetkey_machines.{endpoint.name.replace('-', '_')}"
    view = app.view_functions.get(name) or machine_view(endpoint)
    app.add_url_rule(path, name, view, methods=["GET", "OPTIONS", "POST"], provide_automatic_options=False)


def path_problems(app: Flask) -> list[str]:
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
        "Change oauth_path, account_path, device_path, personal_access_tokens_path, docs_path, openapi_path or "
        "llms_txt_path, or set api_catalog or security_contact off"
        for path, method in sorted(valetkey_rules.keys() & host_rules.keys())
    ]


def _make_startup_check(app: Flask, runtime: Runtime) -> Callable[[], None]:
    """Return the function that checks the app and protects its routes.

    Call it before the first request, when the app has all its routes and extensions. It raises ``SettingsError`` if
    paths or rate limits conflict, and logs warnings about settings that have no effect.
    """
    finish_hiding_tables = hide_tables_from_migrate(app)

    def check_app() -> None:
        problems = [*path_problems(app), *limit_problems(iter_routes(app), runtime.plan_budgets)]
        if problems:
            raise SettingsError("\n".join(problems))
        csrf: Any = app.extensions.get("csrf")
        if hasattr(csrf, "exempt"):  # Flask-WTF's CSRFProtect would refuse Valetkey's forms, which have own protection
            for blueprint in app.blueprints.values():
                if blueprint.name.startswith("valetkey_"):
                    csrf.exempt(blueprint)
        finish_hiding_tables()
        protect_routes(app, runtime.settings.api_prefix, deny_undecorated=runtime.settings.protect_by_default)
        _warn_unread_variables(runtime.settings)
        _warn_issuer_port_mismatch(runtime.settings)

    return check_app


def _warn_unread_variables(settings: Settings) -> None:
    ignored = ignored_variables(os.environ, settings)
    if ignored:
        _log.warning(
            "%s in the environment has no effect here: only the `valetkey` command reads it. Pass the value to "
            "Valetkey(...) or app.config, or run the app with `valetkey serve`",
            ", ".join(ignored),
        )


def _warn_issuer_port_mismatch(settings: Settings) -> None:
    """Log a warning if the current request was sent to another port than the port of the issuer URL.

    This happens with ``flask run``, which has its own default port. The warning is logged only for loopback addresses,
    because in production the port may be a proxy's.
    """
    host = request.headers.get("Host", "")
    name, _, port = host.rpartition(":")
    is_local = is_loopback_host(name.strip("[]")) and port.isdecimal()
    if is_local and not settings.is_production and int(port) != urlsplit(settings.issuer).port:
        _log.warning(
            "the issuer is %s, but this request was sent to %s: redirects and links lead to the issuer; "
            "set issuer='http://%s'",
            settings.issuer,
            host,
            host,
        )


def _is_registered_origin(app: Flask, origin: str) -> bool:
    """Return whether a client that runs in browsers (client policy ``browser``) is registered for a web origin.

    Return ``False`` if the database is unavailable.
    """
    runtime: Runtime = app.extensions[EXTENSION]
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        return runtime.origins.is_registered(origin, runtime.clock())
    except StoreUnavailable:
        return False


def _make_resource_owners(
    resource_owner: ResourceOwners | Callable[[], str | None] | None, sign_in_url: str | None
) -> ResourceOwners:
    if resource_owner is None:
        return BuiltInAccounts()
    if callable(resource_owner) and not hasattr(resource_owner, "current"):
        return CallableResourceOwners(resource_owner, sign_in_url)
    return resource_owner  # type: ignore[return-value]  # mypy cannot exclude a callable that also has `current`
