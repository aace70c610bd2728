"""``valetkey users``: create and manage Valetkey's built-in accounts."""

from __future__ import annotations

from pathlib import Path

import click

from valetkey.accounts.password import hash_password, password_problem
from valetkey.accounts.security import disable_account, enable_account
from valetkey.accounts.security_mail import password_mail_statements
from valetkey.accounts.sign_in import require_email_address
from valetkey.accounts.sign_out import end_all_sessions_statements
from valetkey.accounts.sign_up import create_account
from valetkey.activity.audit import audit_statement
from valetkey.protocol.display_name import display_name_problem
from valetkey.runtime import Runtime
from valetkey.storage import accounts, provider_links

from .option_values import refuse_empty
from .password_option import password_stdin_option, read_or_generate_password
from .printing import json_option, print_result, print_table
from .user_claims import AccountClaims, read_claims
from .user_disconnect import disconnect
from .user_update import remove, show, update
from .users_lookup import require_account, with_accounts

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def users() -> None:
    """Create and manage Valetkey's own user accounts."""


for _command in (show, update, disconnect, remove):
    users.add_command(_command)


@users.command()
@click.option("--email", required=True)
@click.option("--name", callback=refuse_empty, help="The name that pages show. [default: from --claims or --email]")
@password_stdin_option
@click.option(
    "--claims", type=_EXISTING_FILE, help="A JSON file with claims about the user (OpenID Connect Core §5.1)."
)
@json_option
@with_accounts
def create(
    runtime: Runtime, email: str, name: str | None, password_stdin: bool, claims: Path | None, as_json: bool
) -> None:
    """Create a user account.

    Without --password-stdin, a password is generated and shown once.
    """
    email = require_email_address(email)
    password = read_or_generate_password(password_stdin)
    problem = password_problem(password, email=email)
    if problem:
        raise click.ClickException(problem)
    account_claims = read_claims(runtime.settings, claims, email) if claims else AccountClaims({}, None)
    if name_problem := display_name_problem(name) if name else None:
        raise click.ClickException(f"the name {name_problem}")
    sub = create_account(
        runtime.store,
        runtime.clock(),
        name=name or str(account_claims.stored.get("name", "")) or email.partition("@")[0],
        email=email,
        password=password,
        claims=account_claims.stored,
        email_is_verified=account_claims.email_is_verified is True,
    )
    print_result({"sub": sub, "email": email, "password": None if password_stdin else password}, as_json)


@users.command("list")
@json_option
@with_accounts
def list_users(runtime: Runtime, as_json: bool) -> None:
    """List all user accounts."""
    rows = [
        {
            "sub": account.sub,
            "email": account.email,
            "name": account.name,
            "state": "disabled" if account.disabled_at else "active",
            "created_at": int(account.created_at),
        }
        for account in accounts.list_all(runtime.store)
    ]
    print_table(rows, ("sub", "state", "created_at", "email", "name"), as_json, empty_message="There are no users.")


@users.command()
@click.argument("user")
@with_accounts
def disable(runtime: Runtime, user: str) -> None:
    """Disable a user account, named by e-mail address or sub.

    The user's sessions, access tokens and refresh tokens are revoked within a second.
    """
    account = require_account(runtime.store, user)
    disable_account(account.sub, runtime, runtime.clock())
    click.echo(f"{account.label} is disabled.")


@users.command()
@click.argument("user")
@with_accounts
def enable(runtime: Runtime, user: str) -> None:
    """Enable a disabled user account; apps must request new tokens."""
    account = require_account(runtime.store, user)
    enable_account(account.sub, runtime, runtime.clock())
    click.echo(f"{account.label} is enabled.")


@users.command()
@click.argument("user")
@password_stdin_option
@json_option
@with_accounts
def password(runtime: Runtime, user: str, password_stdin: bool, as_json: bool) -> None:
    """Set a user's new password and end the user's sessions.

    Without --password-stdin, a password is generated and shown once.
    Providers such as Google are disconnected from the account.
    """
    account, now = require_account(runtime.store, user), runtime.clock()
    if account.email is None:
        raise click.ClickException(
            f"{account.label} has no e-mail address to sign in with: run `valetkey users update {account.sub} --email`"
        )
    new_password = read_or_generate_password(password_stdin)
    problem = password_problem(new_password, email=account.email, name=account.name)
    if problem:
        raise click.ClickException(problem)
    runtime.store.write_all(
        accounts.set_password(account.sub, hash_password(new_password)),
        *end_all_sessions_statements(account.sub, runtime, now),
        accounts.set_unreviewed(account.sub),
        provider_links.remove_all_of_account(account.sub),
        audit_statement("account.password_changed", now, owner=account.sub),
        *password_mail_statements(account.sub, None, runtime, now),
    )
    print_result({"email": account.email, "password": None if password_stdin else new_password}, as_json)
