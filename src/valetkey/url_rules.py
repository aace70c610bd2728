"""The URL rules of Valetkey's endpoints and pages in the host app, and which paths are its own."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask

from .authorization_server.endpoints import ENDPOINTS, METADATA, OPENID_CONFIGURATION
from .authorization_server.views import make_blueprints
from .developer_portal.views import make_blueprints as make_developer_portal_blueprints
from .developer_portal.well_known import API_CATALOG_PATH, SECURITY_TXT_PATH
from .endpoint import Endpoint
from .federation.logout_endpoint import make_logout_endpoint
from .protocol.protected_resource import RESOURCE_METADATA_PATH
from .resource_owner.device.views import make_blueprint as make_device_blueprint
from .resource_owner.logout.views import make_blueprint as make_logout_blueprint
from .resource_owner.passwords.views import make_blueprint as make_passwords_blueprint
from .resource_owner.providers.views import make_blueprint as make_providers_blueprint
from .resource_owner.tokens.views import make_blueprint as make_tokens_blueprint
from .resource_owner.views import make_blueprint as make_resource_owner_blueprint
from .resource_server.limits_endpoint import make_endpoint as make_limits_endpoint
from .resource_server.routes import iter_routes
from .resource_server.views import make_blueprint as make_metadata_blueprint
from .runtime import Runtime
from .settings import Settings
from .web.endpoint_adapters import machine_view
from .web.static_files import blueprint as static_files_blueprint
from .web.wsgi import is_below


def register_url_rules(app: Flask, runtime: Runtime) -> None:
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


def list_own_paths(settings: Settings) -> tuple[str, ...]:
    """Return the paths of Valetkey's endpoints, pages and documents; all paths below them are its own, too."""
    documents = [settings.openapi_path, settings.llms_txt_path]
    documents += [API_CATALOG_PATH] if settings.api_catalog else []
    documents += [SECURITY_TXT_PATH] if settings.security_contact is not None else []
    metadata = (METADATA.path, OPENID_CONFIGURATION.path, RESOURCE_METADATA_PATH)
    return (*settings.own_paths, *metadata, *(path for path in documents if path is not None))


def name_machine_endpoints(app: Flask, settings: Settings) -> dict[str, tuple[str, Endpoint]]:
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


def _add_machine_route(app: Flask, path: str, endpoint: Endpoint) -> None:
    name = _machine_endpoint_name(endpoint)
    view = app.view_functions.get(name) or machine_view(endpoint)
    app.add_url_rule(path, name, view, methods=["GET", "OPTIONS", "POST"], provide_automatic_options=False)


def _machine_endpoint_name(endpoint: Endpoint) -> str:
    return f"valetkey_machines.{endpoint.name.replace('-', '_')}"
