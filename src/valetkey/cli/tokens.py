"""``valetkey tokens``: list, create and revoke users' personal access tokens."""

from __future__ import annotations

import sys

import click

from valetkey.authorization_server.personal_tokens.endpoint import serialize_token
from valetkey.authorization_server.personal_tokens.service import (
    TokenSpec,
    create_personal_token,
    revoke_personal_token,
)
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import PERSONAL_ACCESS_TOKEN, Secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.storage import personal_access_tokens
from valetkey.storage.personal_access_tokens import PersonalToken

from .app_loading import with_runtime
from .option_values import refuse_empty
from .printing import json_option, print_result, print_table
from .users_lookup import resolve_sub


@click.group()
def tokens() -> None:
    """List, create and revoke users' personal access tokens."""


@tokens.command("list")
@click.option("--user", callback=refuse_empty, help="Only of this user: e-mail address, or sub as in tokens.")
@json_option
@with_runtime
def list_tokens(runtime: Runtime, user: str | None, as_json: bool) -> None:
    """List personal access tokens, without their secret values."""
    store, now = runtime.store, runtime.clock()
    listed = (
        personal_access_tokens.list_by_owner(store, resolve_sub(runtime, user))
        if user
        else personal_access_tokens.list_all(store)
    )
    columns = ("id", "prefix", "state", "owner", "expires_at", "last_used_at", "name")
    print_table(
        ({"owner": token.owner, **serialize_token(token, now)} for token in listed),
        columns,
        as_json,
        empty_message="There are no personal access tokens.",
    )


@tokens.command()
@click.option("--user", required=True, help="The user: e-mail address, or sub as in tokens.")
@click.option("--name", required=True, help="Name of the token.")
@click.option("--scope", "scopes", multiple=True, required=True, callback=refuse_empty, help="Scope; repeatable.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 36_600), help="Days until it expires.")
@json_option
@with_runtime
def create(runtime: Runtime, user: str, name: str, scopes: tuple[str, ...], days: int, as_json: bool) -> None:
    """Create a personal access token for a user.

    The token is shown once and never again.
    """
    now = runtime.clock()
    owner = resolve_sub(runtime, user)
    spec = TokenSpec(name, frozenset(scopes), now + days * 86400.0)
    try:
        created = create_personal_token(spec, Owner(owner), runtime, now, None)
    except OAuthError as refusal:
        raise click.ClickException(
            refusal.description + (f" ({refusal.log_detail})" if refusal.log_detail else "")
        ) from refusal
    print_result(
        {"token": created.secret.reveal(), "owner": created.token.owner, **serialize_token(created.token, now)}, as_json
    )


@tokens.command()
@click.argument("token")
@with_runtime
def revoke(runtime: Runtime, token: str) -> None:
    """Revoke a personal access token, named by its id or its value.

    With - as TOKEN, it is read from standard input: other users can read command lines. The token becomes invalid
    within a second.
    """
    if token == "-":
        token = sys.stdin.readline().strip()
    personal_token = _find_token(runtime, token)
    if personal_token is None:
        raise click.ClickException("the token is unknown or has expired")
    if not revoke_personal_token(personal_token, runtime.store, runtime.clock(), None):
        raise click.ClickException(f"{personal_token.token_id} was revoked before")
    click.echo(f"{personal_token.token_id} is revoked.")


def _find_token(runtime: Runtime, token: str) -> PersonalToken | None:
    """Return the personal access token with this id, or the active one with this value.

    Return ``None`` if there is no such token.

    :param token: the id or the value.
    """
    if is_well_formed(token, PERSONAL_ACCESS_TOKEN):
        return personal_access_tokens.find_active(runtime.store, Secret(token).digest(), runtime.clock())
    return personal_access_tokens.find(runtime.store, token)
