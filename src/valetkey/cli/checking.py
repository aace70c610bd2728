"""``valetkey check``: every unsafe or contradictory thing before it is served."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import Flask

from valetkey.extension import path_problems
from valetkey.resource_server.guard import PROTECTION
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.web.state import EXTENSION

from .opened import opened_app


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Judge settings, routes, store and keys; exit status 1 where something must be mended."""
    app = opened_app(context)
    runtime: Runtime = app.extensions[EXTENSION]
    problems = [*path_problems(app), *unknown_scopes(app, runtime.settings)]
    advice = [*unsafe_settings(runtime.settings), *undecided_routes(app, runtime.settings)]
    advice += unused_scopes(app, runtime.settings)
    runtime.get_ready()
    runtime.keys.current("ES256", runtime.clock())
    runtime.close()
    for line in problems:
        click.echo(f"problem: {line}")
    for line in advice:
        click.echo(f"advice:  {line}")
    if problems:
        raise SystemExit(1)
    click.echo("Ready to serve." if not advice else "Ready to serve, with the advice above.")


def unsafe_settings(settings: Settings) -> Iterator[str]:
    """Settings that are allowed, and weaker than they could be."""
    if settings.access_token_lifetime > 3600:
        yield "access_token_lifetime is over an hour: a stolen token is good as long (RFC 9700 §2.2.1)"
    if settings.authorization_code_lifetime > 120:
        yield "authorization_code_lifetime is over two minutes (RFC 6749 §4.1.2, RFC 9700 §4.5)"
    if settings.revocation_outage == "accept":
        yield "revocation_outage='accept': while the store is down, revoked tokens are good (RFC 7009 §3)"
    if settings.is_production and settings.store_url.startswith("sqlite"):
        yield "SQLite serves one machine; for more, set database_url to PostgreSQL"


def undecided_routes(app: Flask, settings: Settings) -> Iterator[str]:
    """Routes under the API's prefix about which nobody said whom they are for."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        mine = rule.endpoint.startswith("valetkey_")
        if mine or not rule.rule.startswith(settings.api_prefix + "/") or view is None:
            continue
        if not _decided(view):
            yield f"{rule.rule} says neither @public nor @require_oauth"


def unknown_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    """Scopes that a route demands and nobody can grant."""
    for name, view in app.view_functions.items():
        for missing in sorted(_scopes(view) - settings.scopes.keys()):
            yield f"the route {name} needs the scope {missing!r}, which is not in scopes={{...}}"


def unused_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    used = {scope for view in app.view_functions.values() for scope in _scopes(view)}
    for name in sorted(settings.scopes.keys() - used):
        yield f"no route uses the scope {name!r}"


def _views(view: object) -> list[object]:
    """The view, and the methods of the class that it stands for."""
    made_from = getattr(view, "view_class", None)
    methods = ("get", "post", "put", "patch", "delete", "head")
    found = [getattr(made_from, name, None) for name in methods] if made_from else []
    return [view, *(method for method in found if method is not None)]


def _decided(view: object) -> bool:
    found = _views(view)
    return hasattr(found[0], PROTECTION) or (len(found) > 1 and all(hasattr(one, PROTECTION) for one in found[1:]))


def _scopes(view: object) -> set[str]:
    protections = [getattr(one, PROTECTION) for one in _views(view) if hasattr(one, PROTECTION)]
    return {scope for protection in protections for group in protection.alternatives for scope in group}
