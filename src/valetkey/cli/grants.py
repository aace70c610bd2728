"""``valetkey grants``: list and revoke grants, which record what users allowed apps to do."""

from __future__ import annotations

from dataclasses import asdict

import click

from valetkey.authorization_server.connected_apps import revoke_connected_app
from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.runtime import Runtime
from valetkey.storage import active_grants, consents
from valetkey.storage import grants as grant_storage

from .app_loading import with_runtime
from .option_values import refuse_empty
from .printing import json_option, print_table
from .users_lookup import resolve_sub

_MAX_LISTED = 1000


@click.group()
def grants() -> None:
    """List and revoke what users allowed apps to do."""


@grants.command("list")
@click.option("--client", "client_id", callback=refuse_empty, help="Only grants of this app (client_id).")
@click.option("--user", callback=refuse_empty, help="Only of this user: e-mail address, or sub as in tokens.")
@json_option
@with_runtime
def list_grants(runtime: Runtime, client_id: str | None, user: str | None, as_json: bool) -> None:
    """List active grants (what users allowed apps), newest first."""
    owner, now = resolve_sub(runtime, user) if user else "", runtime.clock()
    active = active_grants.list_active(runtime.store, now, client_id=client_id or "", owner=owner, limit=_MAX_LISTED)
    columns = ("grant_id", "client_id", "owner", "created_at", "last_used_at", "scope")
    print_table((asdict(grant) for grant in active), columns, as_json, empty_message="There are no grants.")
    if len(active) == _MAX_LISTED and not as_json:
        click.echo(f"These are the newest {_MAX_LISTED}; use --client or --user to see others.")


@grants.command()
@click.argument("grant_id", required=False, callback=refuse_empty)
@click.option("--client", "client_id", callback=refuse_empty, help="Revoke everything that the user allowed this app.")
@click.option("--user", callback=refuse_empty, help="The user: e-mail address, or sub as in tokens.")
@with_runtime
def revoke(runtime: Runtime, grant_id: str | None, client_id: str | None, user: str | None) -> None:
    """Revoke one grant, or everything that a user allowed an app.

    Name one grant by its id, or all grants of a user to an app with --client and --user. The tokens of the grants
    become invalid within a second.
    """
    now = runtime.clock()
    if grant_id is None and client_id and user:
        owner = resolve_sub(runtime, user)
        active = active_grants.list_active(runtime.store, now, client_id=client_id, owner=owner, limit=1)
        if not active and consents.find(runtime.store, owner, client_id) is None:
            raise click.ClickException(f"{user} gave {client_id} nothing")
        revoke_connected_app(owner, client_id, None, runtime.store, now)
        click.echo(f"All that {user} gave {client_id} is revoked.")
        return
    if grant_id is None or client_id or user:
        raise click.UsageError("pass a grant's id, or --client and --user together")
    grant = grant_storage.find(runtime.store, grant_id)
    if grant is None:
        raise click.ClickException(f"unknown grant {grant_id}; see `valetkey grants list`")
    runtime.store.write_all(*revoke_grant_statements(grant, now, "grant.revoked", None))
    click.echo(f"{grant_id} is revoked.")
