"""``valetkey clients``: register and manage OAuth clients."""

from __future__ import annotations

import sys
from typing import Any

import click

from valetkey.authorization_server.clients import service
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS
from valetkey.protocol.printable import escape_unprintable
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients as client_storage
from valetkey.storage import registrations
from valetkey.storage.clients import Client

from .app_loading import with_runtime
from .changes import confirm, show_values, yes_option
from .client_options import metadata_options, read_members
from .client_update import update
from .clients_lookup import require_client, require_or_create_client
from .option_values import refuse_empty
from .printing import json_option, print_result, print_table

_secret_only_option = click.option(
    "--secret-only", is_flag=True, help="Print the secret and nothing else, for scripts."
)


@click.group()
def clients() -> None:
    """Register and manage OAuth clients: apps that use the API."""


clients.add_command(update)


@clients.command()
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option("--client-id", callback=refuse_empty, help="The client_id. [default: random]")
@metadata_options
@_secret_only_option
@json_option
@with_runtime
def create(
    runtime: Runtime, policy: str, client_id: str | None, secret_only: bool, as_json: bool, **options: Any
) -> None:
    """Register an app (OAuth client).

    The app's secret is shown once and never again.
    """
    members = {name: value for name, value in read_members(options).items() if value is not None}
    if "client_name" not in members:
        raise click.UsageError("the name is missing: use --name, or client_name in the file of --metadata")
    method = members.get("token_endpoint_auth_method") or CLIENT_POLICIES[policy].auth_methods[0]
    if secret_only and method not in SECRET_AUTH_METHODS:
        raise click.UsageError(f"--secret-only: a client that authenticates with {method} has no secret")
    registered = service.register_client(
        runtime, runtime.clock(), name=members.pop("client_name"), policy=policy, client_id=client_id, members=members
    )
    _print_secret(registered.client_id, registered.secret, secret_only, as_json)


@clients.command("list")
@json_option
@with_runtime
def list_clients(runtime: Runtime, as_json: bool) -> None:
    """List all apps (OAuth clients) with their state.

    An app in state "waiting" registered itself; approve it with `valetkey clients approve`.
    """
    pending_ids = registrations.list_pending_client_ids(runtime.store)

    def state(client: Client) -> str:
        if client.client_id in pending_ids:
            return "waiting"
        return "disabled" if client.disabled_at else "active"

    rows = [
        {**_client_members(client), "name": client.name, "state": state(client)}
        for client in client_storage.list_all(runtime.store)
    ]
    print_table(rows, ("client_id", "policy", "state", "name"), as_json, empty_message="There are no apps.")


@clients.command()
@click.argument("client_id")
@json_option
@with_runtime
def show(runtime: Runtime, client_id: str, as_json: bool) -> None:
    """Show the registration of an app (OAuth client)."""
    print_result(_client_members(require_client(runtime.store, client_id, runtime.clock())), as_json)


@clients.command()
@click.argument("client_id")
@yes_option
@with_runtime
def approve(runtime: Runtime, client_id: str, yes: bool) -> None:
    """Approve an app that waits for approval.

    Of an app that registered itself, the registration is shown; if it changes meanwhile, nothing is approved. If the
    client_id is the URL of a metadata document, look at the document. In a terminal, the app is approved only after the
    answer yes.
    """
    client = require_or_create_client(runtime, client_id, runtime.clock())
    show_values(client_id, _client_members(client))
    if sys.stdin.isatty():
        confirm("Approve it?", (), yes=yes)
    service.enable_client(runtime.store, client, runtime.clock())
    click.echo(f"{client_id} is approved.")


@clients.command()
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option(
    "--expires",
    default=86400,
    show_default=True,
    type=click.IntRange(1, 366 * 86400),
    help="Seconds until it expires.",
)
@click.option(
    "--uses", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many apps it can register."
)
@json_option
@with_runtime
def token(runtime: Runtime, policy: str, expires: int, uses: int, as_json: bool) -> None:
    """Create an initial access token.

    Apps register themselves with it at the registration endpoint (RFC 7591). It is shown once and never again.
    """
    secret = create_initial_access_token(
        runtime.store, runtime.clock(), policy=policy, lifetime_s=expires, max_uses=uses
    )
    print_result(
        {"initial_access_token": secret.reveal(), "policy": policy, "expires_in": expires, "uses": uses}, as_json
    )


@clients.command()
@click.argument("client_id")
@with_runtime
def disable(runtime: Runtime, client_id: str) -> None:
    """Disable an app (OAuth client) and revoke its tokens.

    Its tokens become invalid within a second.
    """
    now = runtime.clock()
    service.disable_client(runtime.store, require_or_create_client(runtime, client_id, now), now)
    click.echo(f"{client_id} is disabled.")


@clients.command()
@click.argument("client_id")
@with_runtime
def enable(runtime: Runtime, client_id: str) -> None:
    """Enable a disabled app; it must request new tokens."""
    now = runtime.clock()
    service.enable_client(runtime.store, require_client(runtime.store, client_id, now), now)
    click.echo(f"{client_id} is enabled.")


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--old-lives",
    default=86400,
    show_default=True,
    type=click.IntRange(0, 366 * 86400),
    help="Seconds until the old secret expires.",
)
@_secret_only_option
@json_option
@with_runtime
def rotate_secret(runtime: Runtime, client_id: str, old_lives: int, secret_only: bool, as_json: bool) -> None:
    """Generate a new secret for an app.

    The old secret stays valid for a day, or for the seconds of --old-lives.
    """
    now = runtime.clock()
    client = require_client(runtime.store, client_id, now)
    secret = service.add_secret(runtime.store, client, now, old_secret_ttl_s=old_lives)
    _print_secret(client_id, secret, secret_only, as_json)


@clients.command()
@click.argument("client_id")
@yes_option
@with_runtime
def remove(runtime: Runtime, client_id: str, yes: bool) -> None:
    """Remove an app and revoke all its tokens."""
    client = require_client(runtime.store, client_id, runtime.clock())
    click.echo(f"{client_id}: {escape_unprintable(client.name)}, policy {client.policy.name}", err=True)
    confirm("Remove this app and end all its tokens?", (), yes=yes)
    service.end_client(runtime.store, client.client_id, runtime.clock())
    click.echo(f"{client_id} is removed.")


def _print_secret(client_id: str, secret: Secret | None, secret_only: bool, as_json: bool) -> None:
    secret_text = secret.reveal() if secret else None
    if secret_only:
        click.echo(secret_text)
        return
    print_result({"client_id": client_id, "client_secret": secret_text}, as_json)


def _client_members(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "policy": client.policy.name,
        **client.metadata,
        "client_id_issued_at": int(client.created_at),
        "disabled_at": int(client.disabled_at) if client.disabled_at else None,
    }
