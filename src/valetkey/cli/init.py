"""``valetkey init``: create or upgrade the database and its keys; with ``--demo``, create a demo user and client."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

import click

from valetkey.accounts.sign_up import create_account
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime, prepare_store
from valetkey.settings import SettingsError
from valetkey.storage import accounts, clients
from valetkey.storage.schema import HEAD_REVISION
from valetkey.web.context import EXTENSION

from .app_loading import load_app
from .printing import json_option

DEMO_EMAIL = "demo@example.org"
DEMO_CLIENT_ID = "demo"


@click.command()
@click.option("--demo", is_flag=True, help="Also create a demo user and app.")
@json_option
@click.pass_context
def init(context: click.Context, demo: bool, as_json: bool) -> None:
    """Create or upgrade the database, and create signing keys.

    Running this command again is safe.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    try:
        if demo:
            check_demo_allowed(runtime)
        has_new_keys = prepare_store(runtime)
        runtime.get_ready()
        runtime.keys.get_signing_key("ES256", runtime.clock())  # fails if the keys cannot be decrypted
        credentials = create_demo_data(runtime) if demo else None
    finally:
        runtime.close()
    if as_json:
        click.echo(json.dumps({"created": has_new_keys, "schema": HEAD_REVISION, "demo": credentials}))
        return
    click.echo("The database is ready, with new keys." if has_new_keys else "The database is ready.")
    for line in demo_credential_lines(credentials) if credentials else ():
        click.echo(line)


def check_demo_allowed(runtime: Runtime) -> None:
    """Check that ``--demo`` is allowed: demo users and clients are not for production.

    :raises SettingsError: if the issuer is reachable from other machines, or is not set.
    """
    if runtime.settings.has_default_issuer:
        raise SettingsError(
            "--demo needs a loopback issuer: set it, as in "
            f"{runtime.sources.environment.variable('issuer')}={runtime.settings.issuer}, or use "
            "`valetkey serve --demo`, which takes its own address"
        )
    if not runtime.settings.is_development:
        raise SettingsError(
            "--demo creates a demo user and a demo app, and is allowed on loopback only: remove it if the issuer is "
            f"{runtime.settings.issuer}"
        )


def create_demo_data(runtime: Runtime) -> dict[str, str] | None:
    """Create the demo client and the demo user, and return their credentials by name.

    The client uses the client credentials grant (client policy ``machine``). The user is created only if accounts are
    Valetkey's own. Return ``None``, and create nothing, if the client exists.
    """
    now = runtime.clock()
    if clients.find(runtime.store, DEMO_CLIENT_ID, now) is not None:
        return None
    user = {}
    if runtime.has_built_in_accounts and accounts.find_by_email(runtime.store, DEMO_EMAIL) is None:
        user = {"email": DEMO_EMAIL, "password": secrets.token_urlsafe(12)}
        create_account(runtime.store, now, name="Demo", email=user["email"], password=user["password"])
    app = register_client(runtime, runtime.clock(), name="Demo app", policy="machine", client_id=DEMO_CLIENT_ID)
    assert app.secret is not None
    return {**user, "client_id": app.client_id, "client_secret": app.secret.reveal()}


def demo_credential_lines(demo: Mapping[str, str]) -> list[str]:
    """Return the lines of text that show the credentials of the demo user and client.

    :param demo: the result of ``create_demo_data``.
    """
    user = [f"User:     {demo['email']}   password: {demo['password']}"] if "email" in demo else []
    return [*user, f"App:      {demo['client_id']}   secret: {demo['client_secret']}", "These are shown once."]
