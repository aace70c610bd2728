"""``valetkey init``, ``db`` and ``prune``: the store from its first day to its daily cleaning."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

import click

from valetkey.accounts.sign_in import create_account
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.outbound.worker import prune
from valetkey.runtime import Runtime, prepare_store
from valetkey.settings import SettingsError
from valetkey.storage.accounts import find_by_email
from valetkey.storage.clients import find as find_client
from valetkey.storage.schema import HEAD_REVISION, schema_version
from valetkey.web.context import EXTENSION

from .app_loading import json_option, load_app, print_result, with_runtime

DEMO_EMAIL = "demo@example.org"
DEMO_CLIENT_ID = "demo"


@click.command()
@click.option("--demo", is_flag=True, help="Also make a demonstration user and app.")
@json_option
@click.pass_context
def init(context: click.Context, demo: bool, as_json: bool) -> None:
    """Create the database and its keys, or upgrade them.

    It may be run again.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    try:
        if demo:
            check_demo_allowed(runtime)
        made = prepare_store(runtime)
        runtime.get_ready()
        runtime.keys.get_signing_key("ES256", runtime.clock())  # they can be decrypted
        shown = create_demo_data(runtime) if demo else None
    finally:
        runtime.close()
    if as_json:
        click.echo(json.dumps({"created": made, "schema": HEAD_REVISION, "demo": shown}))
        return
    click.echo("The store is ready, with new keys." if made else "The store is ready.")
    for line in demo_credential_lines(shown) if shown else ():
        click.echo(line)


def check_demo_allowed(runtime: Runtime) -> None:
    """:raises SettingsError: where others than whoever tries it out could come in; before anything is made."""
    if runtime.settings.is_production:
        raise SettingsError(
            "--demo makes a person and an app to try things out with on this machine: leave it out where the issuer is "
            f"{runtime.settings.issuer}"
        )


def create_demo_data(runtime: Runtime) -> dict[str, str] | None:
    """A machine app, and a user where accounts are kept here; None where they were made before."""
    now = runtime.clock()
    if find_client(runtime.store, DEMO_CLIENT_ID, now) is not None:
        return None
    user = {}
    if runtime.has_built_in_accounts and find_by_email(runtime.store, DEMO_EMAIL) is None:
        user = {"email": DEMO_EMAIL, "password": secrets.token_urlsafe(12)}
        create_account(runtime, name="Demo", email=user["email"], password=user["password"])
    app = register_client(runtime, name="Demo app", policy="machine", client_id=DEMO_CLIENT_ID)
    assert app.secret is not None
    return {**user, "client_id": app.client_id, "client_secret": app.secret.reveal()}


def demo_credential_lines(demo: Mapping[str, str]) -> list[str]:
    user = [f"User:     {demo['email']}   password: {demo['password']}"] if "email" in demo else []
    return [*user, f"App:      {demo['client_id']}   secret: {demo['client_secret']}", "These are shown once."]


@click.command("prune")
@json_option
@with_runtime
def prune_command(runtime: Runtime, as_json: bool) -> None:
    """Remove what is over: expired codes, tokens, sessions.

    `serve` and `work` do it every hour.
    """
    removed = prune(runtime.store, runtime.clock())
    removed["unused clients"] = prune_unused_clients(runtime)
    runtime.limiter.prune(runtime.clock())
    if as_json:
        print_result(removed, as_json)
        return
    for table, number in removed.items():
        if number:
            click.echo(f"{number:>9} {table.removeprefix('valetkey_').replace('_', ' ')}")
    total = sum(removed.values())
    click.echo(f"{total:>9} rows removed" if total else "0 rows removed")


@click.group()
def db() -> None:
    """The store's schema."""


@db.command()
@click.pass_context
def upgrade(context: click.Context) -> None:
    """Bring the schema to what this version needs."""
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    before = schema_version(runtime.store) if _database_exists(runtime) else None
    prepare_store(runtime)
    click.echo(
        f"The schema is {HEAD_REVISION}" + (f", it was {before}." if before and before != HEAD_REVISION else ".")
    )
    runtime.close()


@db.command()
@click.pass_context
def version(context: click.Context) -> None:
    """Show the schema's revision, and the one that this version needs."""
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    found = schema_version(runtime.store) if _database_exists(runtime) else None
    click.echo(f"store: {found or 'none'}, needed: {HEAD_REVISION}")
    runtime.close()


def _database_exists(runtime: Runtime) -> bool:
    from valetkey.storage.engine.open import sqlite_path

    path = sqlite_path(runtime.settings.store_url)
    return path is None or path.exists()
