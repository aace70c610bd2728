"""The Flask extension: adds Valetkey to a host's app. It composes; it decides nothing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from .accounts.mail_links import ACCOUNT_MAIL_JOB as ACCOUNT_MAIL
from .accounts.mail_links import deliver_mail_link as deliver_link
from .api_helpers.body_size import limit_bodies
from .api_helpers.cors import set_up_cors
from .authorization_server.clients.service import register_cli_client
from .authorization_server.clients.unused import prune_unused_clients
from .authorization_server.endpoints import ENDPOINTS, METADATA, OPENID_CONFIGURATION
from .authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB as LOGOUT_TOKEN
from .authorization_server.openid.logout_token import deliver_logout_token
from .authorization_server.openid.session_logout import logout_statements, owner_logout_statements
from .authorization_server.owner_mail import OWNER_MAIL_JOB as OWNER_MAIL
from .authorization_server.owner_mail import deliver_owner_mail as deliver_to_owner
from .authorization_server.personal_tokens.reminders import queue_reminders
from .authorization_server.views import add_authorize_fast_path, make_blueprints
from .developer_portal.docs_client import register_docs_client
from .developer_portal.views import make_blueprints as make_developer_portal
from .endpoint import Endpoint
from .openapi.document import load_or_build_document
from .protocol.resource_owner import ResourceOwners
from .protocol.uri import is_loopback_host
from .resource_owner.device.views import make_blueprint as make_device
from .resource_owner.logout.views import make_blueprint as make_logout
from .resource_owner.passwords.views import make_blueprint as make_passwords
from .resource_owner.tokens.views import make_blueprint as make_tokens
from .resource_owner.views import make_blueprint as make_resource_owner
from .resource_server.guard.require_oauth import finish_call
from .resource_server.guard.views import make_blueprint as make_resource_server
from .resource_server.limit_validation import limit_problems
from .resource_server.limits_endpoint import make_endpoint as make_limits_endpoint
from .resource_server.routes import iter_routes, protect_routes
from .runtime import Runtime
from .settings import Settings, SettingsError
from .settings.sources import command_values, config_values, ignored_variables, read_settings
from .storage import grants, personal_access_tokens
from .storage.change_feed import add as add_revocation
from .storage.engine.transaction import StoreUnavailable
from .web.context import EXTENSION
from .web.endpoint_adapters import machine_view, serve_before_flask
from .web.error_handlers import render_unhandled_errors
from .web.host_migrations import hide_tables_from_migrate
from .web.pages import blueprint as web_kit
from .web.pages import make_page_headers_hook as add_page_headers
from .web.request_id import make_request_id_hook
from .web.resource_owners import BuiltInAccounts, CallableResourceOwners
from .web.wsgi import add_response_hooks, before_first_request, mount_at

_log = logging.getLogger("valetkey")


class Valetkey:
    """A public API for a Flask app: authorization server, protected routes, pages, limits.

    ``Valetkey(app, scopes={"profile": "See your name"})``, or ``Valetkey(...)`` and ``init_app`` later. The state
    is in ``app.extensions["valetkey"]``; this object keeps only what it was given, so it serves several apps.

    :param scopes: each scope and the words in which consent asks for it.
    :param resource_owner: the host's people: an object with the methods of ``ResourceOwners``, or a function that
        answers the ``sub`` of whoever is signed in. Left out: Valetkey keeps accounts.
        With a method ``sign_out()`` besides, apps can sign people out.
    :param openapi: answers the OpenAPI document that APIFlask, flask-smorest or flask-openapi made of the app;
        the reference then shows that one, with security and limits added. Left out: it is made from the routes.
    :param settings: any field of ``Settings``.
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
        """Add Valetkey to an app; no file is opened and nothing is connected to.

        :raises SettingsError: with every problem of the settings together.
        """
        command, last = command_values()
        settings = read_settings(
            ("", self._options), ("VALETKEY_", command), ("VALETKEY_", config_values(app.config)), ("", last)
        )
        owners = _make_resource_owners(self._resource_owner, settings.sign_in_url)
        runtime = app.extensions[EXTENSION] = make_runtime(settings, owners, self._clock)
        runtime.app_context = app.app_context
        runtime.build_openapi_document = partial(load_or_build_document, app, self._openapi)
        own = runtime.has_built_in_accounts
        path = urlsplit(settings.issuer).path  # an issuer may have one (RFC 8414 §3.1)
        machines, people = make_blueprints()
        app.register_blueprint(machines, url_prefix=settings.oauth_path)
        app.register_blueprint(people, url_prefix=settings.oauth_path)
        app.register_blueprint(make_resource_owner(settings.oauth_path, settings.account_path, built_in_accounts=own))
        if runtime.supports_sign_out:
            app.register_blueprint(make_logout(), url_prefix=settings.oauth_path)
        if own:
            account = settings.account_path or f"{settings.oauth_path}/account"
            app.register_blueprint(make_passwords(), url_prefix=account)
            runtime.job_handlers[ACCOUNT_MAIL] = partial(deliver_link, runtime)
        if settings.device_path is not None:
            app.register_blueprint(make_device(settings.device_path))
        if settings.tokens_path is not None:
            app.register_blueprint(make_tokens(settings.tokens_path))
        app.register_blueprint(make_resource_server())
        for portal in make_developer_portal(runtime):
            app.register_blueprint(portal)
        app.register_blueprint(web_kit, url_prefix=f"{settings.oauth_path}/pages")
        limits = make_limits_endpoint(lambda: iter_routes(app))
        _add_machine_route(app, f"{settings.oauth_path}{limits.path}", limits)
        _add_machine_route(app, METADATA.path, METADATA)
        _add_machine_route(app, OPENID_CONFIGURATION.path, OPENID_CONFIGURATION)
        if path:
            _add_machine_route(app, f"{METADATA.path}{path}", METADATA)
        _hide_from_apiflask(app)
        render_unhandled_errors(app, settings)
        steps = [finish_call(runtime), add_page_headers(settings.issuer)]
        if settings.request_ids:
            steps.append(make_request_id_hook(settings.api_prefix))
        if settings.cors != "off":
            allowed = None if settings.cors == "any" else partial(_is_registered_origin, app)
            steps.append(set_up_cors(app, settings.api_prefix, allowed))
        if settings.endpoints_bypass_flask and isinstance(owners, BuiltInAccounts):
            add_authorize_fast_path(app, runtime, owners, f"{settings.oauth_path}/authorize")
        add_response_hooks(app, *steps)
        if settings.endpoints_bypass_flask:
            below_oauth = {f"{settings.oauth_path}{one.path}": one for one in (*ENDPOINTS, limits)}
            at_root = {one.path: one for one in (METADATA, OPENID_CONFIGURATION)}
            serve_before_flask(app, runtime, below_oauth | at_root)
        if path:
            mounted = mount_at(path, app.wsgi_app, settings.own_paths)
            app.wsgi_app = mounted  # type: ignore[method-assign,assignment] # as Flask's documentation does
        if settings.max_body:
            limit_bodies(app, settings.api_prefix, settings.max_body)
        before_first_request(app, _make_startup_check(app, runtime))

    @staticmethod
    def revoke_owner(app: Flask, sub: str) -> None:
        """Put a person of the host's out: every token and refresh token for them is dead within a second."""
        runtime: Runtime = app.extensions[EXTENSION]
        now = runtime.clock()
        told = owner_logout_statements(sub, runtime, now)
        revoked = add_revocation("owner", sub, now, runtime.revocation_expiry)
        runtime.revoke(
            *told, grants.revoke_all_of_owner(sub, now), personal_access_tokens.revoke_all_of_owner(sub, now), revoked
        )

    @staticmethod
    def end_session(app: Flask, sub: str, sid: str) -> None:
        """Tell clients that a sign-in of the host's is over: ``sid`` is what its ``Owner`` had."""
        runtime: Runtime = app.extensions[EXTENSION]
        runtime.revoke(*logout_statements(sub, sid, runtime, runtime.clock(), None))


def make_runtime(settings: Settings, owners: ResourceOwners, clock: Callable[[], float]) -> Runtime:
    """A runtime, with what rooms above it do when its store is made and in the background."""
    runtime = Runtime(settings, owners, clock=clock)
    runtime.job_handlers |= {
        LOGOUT_TOKEN: partial(deliver_logout_token, runtime),
        OWNER_MAIL: partial(deliver_to_owner, runtime),
    }
    runtime.hourly_tasks += (partial(queue_reminders, runtime), partial(prune_unused_clients, runtime))
    runtime.on_store_created += [register_cli_client, register_docs_client]
    if isinstance(owners, BuiltInAccounts):
        owners.runtime, runtime.has_built_in_accounts = runtime, True
    return runtime


def _hide_from_apiflask(app: Flask) -> None:
    """APIFlask asks every blueprint whether it belongs into the API's document; a plain one has no answer."""
    for name, blueprint in app.blueprints.items():
        if name.startswith("valetkey_"):
            vars(blueprint)["enable_openapi"] = False


def _add_machine_route(app: Flask, path: str, endpoint: Endpoint) -> None:
    name = f"valetkey_machines.{endpoint.name.replace('-', '_')}"
    view = app.view_functions.get(name) or machine_view(endpoint)
    app.add_url_rule(path, name, view, methods=["GET", "OPTIONS", "POST"], provide_automatic_options=False)


def path_problems(app: Flask) -> list[str]:
    """Each path that both Valetkey and the host serve, as the sentence that fixes it."""
    ours: dict[tuple[str, str], str] = {}
    theirs: dict[tuple[str, str], str] = {}
    for rule in app.url_map.iter_rules():
        mine = rule.endpoint.startswith("valetkey_")
        for method in rule.methods or ():
            if method not in {"OPTIONS", "HEAD"}:
                (ours if mine else theirs)[(rule.rule, method)] = rule.endpoint
    return [
        f"{path} is served by Valetkey and by the app's {theirs[path, method]!r}: "
        "change oauth_path, account_path, device_path, personal_access_tokens_path, docs_path, openapi_path or "
        "llms_txt_path, or set api_catalog or security_contact off"
        for path, method in sorted(ours.keys() & theirs.keys())
    ]


def _make_startup_check(app: Flask, runtime: Runtime) -> Callable[[], None]:
    """Looks at the app when it has all its routes and extensions."""
    end_watch = hide_tables_from_migrate(app)

    def look_around() -> None:
        problems = [*path_problems(app), *limit_problems(iter_routes(app), runtime.plan_budgets)]
        if problems:
            raise SettingsError("\n".join(problems))
        csrf: Any = app.extensions.get("csrf")
        if hasattr(csrf, "exempt"):  # a host's CSRFProtect knows nothing of our forms' own protection
            for blueprint in app.blueprints.values():
                if blueprint.name.startswith("valetkey_"):
                    csrf.exempt(blueprint)
        end_watch()
        protect_routes(app, runtime.settings.api_prefix, deny_undecorated=runtime.settings.protect_by_default)
        _warn_unread_variables(runtime.settings)
        _warn_issuer_port_mismatch(runtime.settings)

    return look_around


def _warn_unread_variables(settings: Settings) -> None:
    unread = ignored_variables(os.environ, settings)
    if unread:
        _log.warning(
            "%s in the environment has no effect here: only the `valetkey` command reads it; give the value to "
            "Valetkey(...) or app.config, or serve with `valetkey serve`",
            ", ".join(unread),
        )


def _warn_issuer_port_mismatch(settings: Settings) -> None:
    """On a developer's machine, where `flask run` has a port of its own; elsewhere a proxy's is no news."""
    sent = request.headers.get("Host", "")
    name, _, port = sent.rpartition(":")
    is_here = is_loopback_host(name.strip("[]")) and port.isdecimal()
    if is_here and not settings.is_production and int(port) != urlsplit(settings.issuer).port:
        _log.warning(
            "people and apps are sent to the issuer, %s, and this is %s: set issuer='http://%s'",
            settings.issuer,
            sent,
            sent,
        )


def _is_registered_origin(app: Flask, origin: str) -> bool:
    """Whether a registered browser app is at an origin; while the store is down nobody is known to be."""
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
    return resource_owner  # type: ignore[return-value]  # an object with the four methods
