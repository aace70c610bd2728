"""``valetkey scopes``: what apps can ask for, and where it is needed."""

from __future__ import annotations

import click

from valetkey.resource_server.routes import routes_of
from valetkey.runtime import Runtime
from valetkey.web.context import EXTENSION

from .app_loading import json_option, opened_app
from .printing import tell_rows


@click.group()
def scopes() -> None:
    """What apps can ask for."""


@scopes.command("list")
@json_option
@click.pass_context
def list_scopes(context: click.Context, as_json: bool) -> None:
    """Show each scope of the API, its words, and the routes that name it."""
    app = opened_app(context)
    runtime: Runtime = app.extensions[EXTENSION]
    routes = list(routes_of(app))
    rows = [
        {"scope": name, "words": words, "routes": sorted({route.path for route in routes if name in route.scopes})}
        for name, words in sorted(runtime.settings.scopes.items())
    ]
    tell_rows(
        rows, ("scope", "words", "routes"), as_json, none="There are no scopes: Valetkey(app, scopes={...}) names them."
    )
    runtime.close()
