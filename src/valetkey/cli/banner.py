"""Text that ``valetkey serve`` prints when it starts: its addresses, and with ``--demo`` commands that call the API."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from valetkey.authorization_server.clients.service import CLI_CLIENT_ID
from valetkey.protocol.scope import format_scope
from valetkey.resource_server.routes import iter_routes
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.engine.open import sqlite_path
from valetkey.tokens.grant_scope import limit_scope_to_plan

from .init import DEMO_EMAIL, demo_credential_lines


def banner_lines(runtime: Runtime, address: str) -> list[str]:
    """Return the lines that ``valetkey serve`` prints first: addresses of server and pages, and the SQLite file.

    :param address: URL on which the server listens.
    """
    issuer, settings = runtime.settings.issuer, runtime.settings
    account, store = settings.account_path, sqlite_path(settings.store_url)
    pages = {
        "Docs": settings.docs_path,
        "Pages": account,
        "Sign-in": f"{account or settings.oauth_path + '/account'}/sign-in" if runtime.has_built_in_accounts else None,
        "Metadata": "/.well-known/oauth-authorization-server",
    }
    lines = [f"Valetkey serves on {address}" + ("" if issuer == address else f" as {issuer}")]
    lines += [f"{name + ':':<9} {issuer}{path}" for name, path in pages.items() if path]
    return lines + ([f"Store:    {store}"] if store else [])


def resource_server_banner_lines(context: StandaloneContext, address: str) -> list[str]:
    """Return the lines that ``valetkey serve`` prints first for an app with a ``ResourceServer``.

    :param address: URL on which the server listens.
    """
    settings = context.settings
    resource = settings.api_resource
    lines = [f"Valetkey serves on {address}" + ("" if resource == address else f" as the API {resource}")]
    lines += [f"Docs:     {address}{settings.docs_path}"] if settings.docs_path else []
    return [*lines, f"Issuers:  {', '.join(context.trusted_issuers)}"]


def example_call_lines(app: Flask, runtime: Runtime, demo: Mapping[str, str] | None) -> list[str]:
    """Return lines with shell commands that call the app's first protected route, as the demo client and as a user.

    The lines contain the credentials of a new demo user and client, too.

    :param demo: these credentials; ``None`` if the demo client existed before.
    """
    issuer, command, protected = runtime.settings.issuer, str(Path(sys.argv[0])), _find_protected_path(app)
    lines = ["", *demo_credential_lines(demo)] if demo else []
    if demo is None and runtime.has_built_in_accounts:
        reset = shlex.join([command, "--data-dir", runtime.settings.data_dir, "users", "password", DEMO_EMAIL])
        lines += ["", f"Set another password for {DEMO_EMAIL}:", f"  {reset}"]
    if protected is None:
        return lines
    if demo:
        lines += [
            "",
            "Call the API as the app:",
            f"  {_curl_with_client_credentials(runtime.settings, demo, issuer + protected)}",
        ]
    scope = format_scope(
        limit_scope_to_plan(
            frozenset(runtime.settings.scopes),
            CLI_CLIENT_ID,
            runtime.subscriptions,
            runtime.settings,
            runtime.clock(),
        )
    )
    login = shlex.join([command, "login", "--issuer", issuer, "--scope", scope])
    return [*lines, "", "Call it as yourself, through the browser:", f"  {login} -- curl {issuer}{protected}", ""]


def _curl_with_client_credentials(settings: Settings, demo: Mapping[str, str], url: str) -> str:
    token = (
        f"curl -s -u {demo['client_id']}:{demo['client_secret']} -d grant_type=client_credentials "
        f"{settings.issuer}{settings.oauth_path}/token"
        ' | sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\''
    )
    return f'curl -i -H "Authorization: Bearer $({token})" {url}'


def _find_protected_path(app: Flask) -> str | None:
    """Return the path of the app's first GET route that needs a token and has no path parameters, or ``None``."""
    for route in iter_routes(app):
        needs_token = route.protection is not None and not route.protection.is_public
        if needs_token and not route.is_valetkey_route and not route.rule.arguments and "GET" in route.methods:
            return route.path
    return None
