"""``valetkey scopes``: list the scopes that clients can request, and the routes that require them."""

from __future__ import annotations

import click

from valetkey.resource_server.routes import iter_routes
from valetkey.runtime import Runtime
from valetkey.service import is_app_named
from valetkey.web.context import EXTENSION

from .app_loading import NO_APP, load_app
from .printing import json_option, print_table


@click.group()
def scopes() -> None:
    """List the scopes that apps can request."""


@scopes.command("list")
@json_option
@click.pass_context
def list_scopes(context: click.Context, as_json: bool) -> None:
    """List each scope with its description and the routes that require it."""
    app = load_app(context)
    runtime: Runtime = app.extensions[EXTENSION]
    routes = list(iter_routes(app))
    rows = [
        {"scope": name, "words": words, "routes": sorted({route.path for route in routes if name in route.scopes})}
        for name, words in sorted(runtime.settings.scopes.items())
    ]
    definition = "Define them with Valetkey(app, scopes={...})." if is_app_named() else NO_APP
    print_table(rows, ("scope", "words", "routes"), as_json, empty_message=f"There are no scopes. {definition}")
    runtime.close()
