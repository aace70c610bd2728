"""``valetkey clients``: register and manage OAuth clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from valetkey.authorization_server.clients import service
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients as client_storage
from valetkey.storage import registrations
from valetkey.storage.clients import Client

from .app_loading import read_json_file, with_runtime
from .printing import json_option, print_result, print_table

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_secret_only_option = click.option(
    "--secret-only", is_flag=True, help="Print the secret and nothing else, for scripts."
)


@click.group()
def clients() -> None:
    """Register and manage OAuth clients: apps that use the API."""


@clients.command()
@click.option("--name", help="The name that users see on the consent page.")
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where to return to; may be repeated.")
@click.option("--scope", "scopes", multiple=True, help="What it may request; may be repeated. [default: all scopes]")
@click.option(
    "--grant-type", "grant_types", multiple=True, help="Instead of the policy's grant types; may be repeated."
)
@click.option("--client-id", help="The client_id. [default: random]")
@click.option("--uri", help="The app's home page.")
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="Where logout may go on.")
@click.option("--backchannel-logout-uri", help="Where logout tokens are sent.")
@click.option("--frontchannel-logout-uri", help="What the browser loads at logout.")
@click.option("--contact", help="An e-mail address of its developers.")
@click.option("--auth-method", help="How it authenticates. [default: the policy's first method]")
@click.option("--jwks", type=_EXISTING_FILE, help="A file with its public keys, a JWK set, for private_key_jwt.")
@click.option("--jwks-uri", help="Where its public keys are.")
@click.option(
    "--metadata", type=_EXISTING_FILE, help="A JSON file with members of RFC 7591 §2; other options override it."
)
@_secret_only_option
@json_option
@with_runtime
def create(
    runtime: Runtime,
    name: str | None,
    policy: str,
    redirect_uris: tuple[str, ...],
    scopes: tuple[str, ...],
    grant_types: tuple[str, ...],
    client_id: str | None,
    uri: str | None,
    post_logout_redirect_uris: tuple[str, ...],
    backchannel_logout_uri: str | None,
    frontchannel_logout_uri: str | None,
    contact: str | None,
    auth_method: str | None,
    jwks: Path | None,
    jwks_uri: str | None,
    metadata: Path | None,
    secret_only: bool,
    as_json: bool,
) -> None:
    """Register an app (OAuth client).

    The app's secret is shown once and never again.
    """
    members = read_json_file(metadata) if metadata else {}
    options: dict[str, Any] = {
        "client_uri": uri,
        "contacts": [contact] if contact else None,
        "jwks": read_json_file(jwks) if jwks else None,
        "jwks_uri": jwks_uri,
        "post_logout_redirect_uris": list(post_logout_redirect_uris),
        "backchannel_logout_uri": backchannel_logout_uri,
        "backchannel_logout_session_required": backchannel_logout_uri is not None,
        "frontchannel_logout_uri": frontchannel_logout_uri,
        "frontchannel_logout_session_required": frontchannel_logout_uri is not None,
    }
    members |= {key: value for key, value in options.items() if value}
    name = name or members.get("client_name")
    if name is None:
        raise click.UsageError("a name is needed: --name, or client_name in the file of --metadata")
    method = auth_method or members.get("token_endpoint_auth_method") or CLIENT_POLICIES[policy].auth_methods[0]
    if secret_only and method not in SECRET_AUTH_METHODS:
        raise click.UsageError(f"--secret-only: a client that proves itself by {method} has no secret")
    registered = service.register_client(
        runtime,
        name=name,
        policy=policy,
        redirect_uris=redirect_uris,
        scope=" ".join(scopes) or None,
        grant_types=grant_types,
        client_id=client_id,
        members=members,
        auth_method=auth_method,
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
    print_result(_client_members(_find_client(runtime, client_id)), as_json)


@clients.command()
@click.argument("client_id")
@with_runtime
def approve(runtime: Runtime, client_id: str) -> None:
    """Approve an app that waits for approval.

    The app registered itself, or its client_id is the URL of its metadata document.
    """
    service.enable_client(runtime, _resolve_client(runtime, client_id))
    click.echo(f"{client_id} is approved.")


@clients.command()
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option("--expires", default=86400, show_default=True, help="Seconds until it expires.")
@click.option("--uses", default=1, show_default=True, help="How many apps it can register.")
@json_option
@with_runtime
def token(runtime: Runtime, policy: str, expires: int, uses: int, as_json: bool) -> None:
    """Create an initial access token.

    Apps register themselves with it at the registration endpoint (RFC 7591). It is shown once and never again.
    """
    if expires < 1 or uses < 1:
        raise click.UsageError("--expires and --uses must be 1 or more")
    secret = create_initial_access_token(runtime, policy=policy, lifetime_s=expires, max_uses=uses)
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
    service.disable_client(runtime, _resolve_client(runtime, client_id))
    click.echo(f"{client_id} is disabled.")


@clients.command()
@click.argument("client_id")
@with_runtime
def enable(runtime: Runtime, client_id: str) -> None:
    """Enable a disabled app; it must request new tokens."""
    service.enable_client(runtime, _find_client(runtime, client_id))
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
    secret = service.add_secret(runtime, _find_client(runtime, client_id), old_secret_ttl_s=old_lives)
    _print_secret(client_id, secret, secret_only, as_json)


@clients.command()
@click.argument("client_id")
@click.confirmation_option(prompt="Remove this app and end all its tokens?")
@with_runtime
def remove(runtime: Runtime, client_id: str) -> None:
    """Remove an app and revoke all its tokens."""
    service.remove_client(runtime, _find_client(runtime, client_id))
    click.echo(f"{client_id} is removed.")


def _print_secret(client_id: str, secret: Secret | None, secret_only: bool, as_json: bool) -> None:
    secret_text = secret.reveal() if secret else None
    if secret_only:
        click.echo(secret_text)
        return
    print_result({"client_id": client_id, "client_secret": secret_text}, as_json)


def _find_client(runtime: Runtime, client_id: str) -> Client:
    """Return the client with a ``client_id``, disabled or not.

    :raises click.ClickException: if there is no such client.
    """
    client = client_storage.find(runtime.store, client_id, runtime.clock())
    if client is None:
        raise click.ClickException(f"there is no client {client_id}")
    return client


def _resolve_client(runtime: Runtime, client_id: str) -> Client:
    """Return the client with a ``client_id``, disabled or not.

    If the ``client_id`` is the URL of a client metadata document, the client is created if it does not exist.

    :raises click.ClickException: if there is no such client.
    """
    client = service.find_or_create_client(runtime, client_id)
    if client is None:
        raise click.ClickException(f"there is no client {client_id}")
    return client


def _client_members(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "policy": client.policy.name,
        **client.metadata,
        "client_id_issued_at": int(client.created_at),
        "disabled_at": int(client.disabled_at) if client.disabled_at else None,
    }
