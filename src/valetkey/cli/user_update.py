"""``valetkey users show``, ``update`` and ``remove``: one account."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from valetkey.accounts.administration import change_account, remove_account
from valetkey.accounts.sign_in import require_email_address
from valetkey.authorization_server.connected_apps import list_connected_apps
from valetkey.protocol.display_name import display_name_problem, normalize_display_name
from valetkey.runtime import Runtime
from valetkey.storage import sessions
from valetkey.storage.accounts import Account
from valetkey.storage.engine.records import to_json

from .changes import confirm, confirm_changes, yes_option
from .client_options import EXISTING_FILE
from .option_values import refuse_empty
from .printing import json_option, print_result
from .user_claims import read_claims
from .user_disconnect import list_connections
from .users_lookup import require_account, with_accounts


@click.command()
@click.argument("user")
@json_option
@with_accounts
def show(runtime: Runtime, user: str, as_json: bool) -> None:
    """Show a user account, named by e-mail address or sub."""
    account, now = require_account(runtime.store, user), runtime.clock()
    active_sessions = sessions.list_active(runtime.store, account.sub, now)
    apps = list_connected_apps(account.sub, runtime, now)
    print_result(
        {
            **_members(account),
            "state": "disabled" if account.disabled_at else "active",
            "created_at": int(account.created_at),
            "signed_in_at": int(account.signed_in_at) if account.signed_in_at else None,
            "disabled_at": int(account.disabled_at) if account.disabled_at else None,
            "sessions": len(active_sessions),
            "apps": [app.client_id for app in apps],
            "providers": list_connections(account.sub, runtime),
        },
        as_json,
    )


@click.command()
@click.argument("user")
@click.option(
    "--email", callback=refuse_empty, help="Another e-mail address. It is not verified, unless you add --verified."
)
@click.option("--name", callback=refuse_empty, help="The name that pages show.")
@click.option(
    "--claims",
    type=EXISTING_FILE,
    help="A JSON file with claims about the user (OpenID Connect Core §5.1), instead of those of the account.",
)
@click.option("--verified/--not-verified", default=None, help="Whether the e-mail address is the user's.")
@yes_option
@json_option
@with_accounts
def update(
    runtime: Runtime,
    user: str,
    email: str | None,
    name: str | None,
    claims: Path | None,
    verified: bool | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Change a user account, named by e-mail address or sub.

    What will change is shown first. Apps see new claims within a second.
    """
    account = require_account(runtime.store, user)
    if email is None and name is None and claims is None and verified is None:
        raise click.UsageError("nothing to change: name at least one option, such as --name")
    changed = account
    if email is not None and require_email_address(email) != account.email:
        changed = replace(changed, email=require_email_address(email), email_verified_at=None)
    if name is not None:
        if problem := display_name_problem(name):
            raise click.ClickException(f"the name {problem}")
        changed = replace(changed, name=normalize_display_name(name))
    if claims is not None:
        account_claims = read_claims(runtime.settings, claims, changed.email or "")
        changed = replace(changed, claims=to_json(account_claims.stored))
        verified = account_claims.email_is_verified if verified is None else verified
    if verified is not None:
        if changed.email is None:
            raise click.UsageError("the account has no e-mail address: add one with --email")
        verified_at = changed.email_verified_at or runtime.clock()
        changed = replace(changed, email_verified_at=verified_at if verified else None)
    before, after = _members(account), _members(changed)
    changes = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    consequences = []
    if changed.email != account.email:
        consequences.append("The user signs in with the new address, and links that were mailed to the old one end.")
    if confirm_changes(account.label, changes, tuple(consequences), yes=yes):
        change_account(account, changed, runtime.store, runtime.clock())
    print_result(after, as_json)


@click.command()
@click.argument("user")
@yes_option
@with_accounts
def remove(runtime: Runtime, user: str, yes: bool) -> None:
    """Remove a user account, named by e-mail address or sub.

    It cannot be brought back. To keep it, disable it: `valetkey users disable`.
    """
    account = require_account(runtime.store, user)
    apps = list_connected_apps(account.sub, runtime, runtime.clock())
    click.echo(f"{account.label} ({account.name}), sub {account.sub}:", err=True)
    consequences = (
        f"Its sessions, its consents ({len(apps)} apps) and all its tokens end within a second.",
        "An account that the same person creates later is another one, with another sub.",
    )
    confirm("Remove it?", consequences, yes=yes)
    remove_account(account, runtime, runtime.clock())
    click.echo(f"{account.label} is removed.")


def _members(account: Account) -> dict[str, Any]:
    return {
        "sub": account.sub,
        "email": account.email,
        "email_verified": account.email_verified_at is not None,
        "name": account.name,
        "claims": dict(account.claim_values),
    }
