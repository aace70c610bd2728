"""``valetkey clients``: the apps that may ask for tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from valetkey.authorization_server.clients import service as registration
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients as stored
from valetkey.storage import registrations
from valetkey.storage.clients import Client

from .app_loading import json_option, print_result, read_json_file, with_runtime
from .printing import print_table

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_secret_only_option = click.option(
    "--secret-only", is_flag=True, help="Print the secret and nothing else, for scripts."
)


@click.group()
def clients() -> None:
    """Apps that may ask for tokens."""


@clients.command()
@click.option("--name", help="The name that people see when they are asked.")
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where to return to; may be repeated.")
@click.option(
    "--scope", "scopes", multiple=True, help="What it may ask for; may be repeated; all scopes where left out."
)
@click.option(
    "--grant-type", "grant_types", multiple=True, help="Instead of the policy's grant types; may be repeated."
)
@click.option("--client-id", help="A chosen client_id; random where left out.")
@click.option("--uri", help="The app's home page.")
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="Where logout may go on.")
@click.option("--backchannel-logout-uri", help="Where logout tokens are sent.")
@click.option("--frontchannel-logout-uri", help="What the browser loads at logout.")
@click.option("--contact", help="An e-mail address of its developers.")
@click.option("--auth-method", help="How it proves itself: the policy's first method where left out.")
@click.option("--jwks", type=_EXISTING_FILE, help="A file with its public keys, a JWK set, for private_key_jwt.")
@click.option("--jwks-uri", help="Where its public keys are.")
@click.option(
    "--metadata", type=_EXISTING_FILE, help="A JSON file with any member of RFC 7591 §2; options count before it."
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
    """Register an app.

    Its secret is shown once and never again.
    """
    members = read_json_file(metadata) if metadata else {}
    given: dict[str, Any] = {
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
    members |= {key: value for key, value in given.items() if value}
    name = name or members.get("client_name")
    if name is None:
        raise click.UsageError("a name is needed: --name, or client_name in the file of --metadata")
    method = auth_method or members.get("token_endpoint_auth_method") or CLIENT_POLICIES[policy].auth_methods[0]
    if secret_only and method not in SECRET_AUTH_METHODS:
        raise click.UsageError(f"--secret-only: a client that proves itself by {method} has no secret")
    made = registration.register_client(
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
    _print_secret(made.client_id, made.secret, secret_only, as_json)


@clients.command("list")
@json_option
@with_runtime
def list_clients(runtime: Runtime, as_json: bool) -> None:
    """Show all apps.

    `valetkey clients approve` lets in those that wait.
    """
    waiting = registrations.list_pending_client_ids(runtime.store)

    def state(client: Client) -> str:
        if client.client_id in waiting:
            return "waiting"
        return "disabled" if client.disabled_at else "active"

    rows = [
        {**_client_members(client), "name": client.name, "state": state(client)}
        for client in stored.list_all(runtime.store)
    ]
    print_table(rows, ("client_id", "policy", "state", "name"), as_json, empty_message="There are no apps.")


@clients.command()
@click.argument("client_id")
@json_option
@with_runtime
def show(runtime: Runtime, client_id: str, as_json: bool) -> None:
    """Show one app."""
    print_result(_client_members(_find_client(runtime, client_id)), as_json)


@clients.command()
@click.argument("client_id")
@with_runtime
def approve(runtime: Runtime, client_id: str) -> None:
    """Let in an app that waits for it.

    It registered itself, or describes itself at the URL that is its client_id.
    """
    registration.enable_client(runtime, _resolve_client(runtime, client_id))
    click.echo(f"{client_id} is approved.")


@clients.command()
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), default="web", show_default=True)
@click.option("--expires", default=86400, show_default=True, help="Seconds that it can be used.")
@click.option("--uses", default=1, show_default=True, help="How many apps it registers.")
@json_option
@with_runtime
def token(runtime: Runtime, policy: str, expires: int, uses: int, as_json: bool) -> None:
    """Make an initial access token.

    With it apps register themselves (RFC 7591). It is shown once.
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
    """Put an app out of service.

    Its tokens are dead within a second.
    """
    registration.disable_client(runtime, _resolve_client(runtime, client_id))
    click.echo(f"{client_id} is disabled.")


@clients.command()
@click.argument("client_id")
@with_runtime
def enable(runtime: Runtime, client_id: str) -> None:
    """Let a disabled app back in; it needs new tokens."""
    registration.enable_client(runtime, _find_client(runtime, client_id))
    click.echo(f"{client_id} is enabled.")


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--old-lives",
    default=86400,
    show_default=True,
    type=click.IntRange(0, 366 * 86400),
    help="Seconds that the old secret stays good.",
)
@_secret_only_option
@json_option
@with_runtime
def rotate_secret(runtime: Runtime, client_id: str, old_lives: int, secret_only: bool, as_json: bool) -> None:
    """Give an app another secret.

    The old one stays good for a while.
    """
    secret = registration.add_secret(runtime, _find_client(runtime, client_id), old_secret_ttl_s=old_lives)
    _print_secret(client_id, secret, secret_only, as_json)


@clients.command()
@click.argument("client_id")
@click.confirmation_option(prompt="Remove this app and end all its tokens?")
@with_runtime
def remove(runtime: Runtime, client_id: str) -> None:
    """Remove an app and end all its tokens."""
    registration.remove_client(runtime, _find_client(runtime, client_id))
    click.echo(f"{client_id} is removed.")


def _print_secret(client_id: str, secret: Secret | None, secret_only: bool, as_json: bool) -> None:
    shown = secret.reveal() if secret else None
    if secret_only:
        click.echo(shown)
        return
    print_result({"client_id": client_id, "client_secret": shown}, as_json)


def _find_client(runtime: Runtime, client_id: str) -> Client:
    client = stored.find(runtime.store, client_id, runtime.clock())
    if client is None:
        raise click.ClickException(f"there is no client {client_id}")
    return client


def _resolve_client(runtime: Runtime, client_id: str) -> Client:
    """Also one that describes itself, of which nothing is kept yet."""
    client = registration.find_or_create_client(runtime, client_id)
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
