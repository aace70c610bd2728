"""``valetkey users``: create and manage Valetkey's built-in accounts."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from valetkey.accounts.email_address import is_email_address
from valetkey.accounts.password import hash_password, password_problem
from valetkey.accounts.sign_in import create_account
from valetkey.accounts.sign_out import end_all_sessions_statements
from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import owner_logout_statements
from valetkey.protocol.claims import STANDARD_CLAIMS, claim_problem
from valetkey.runtime import Runtime
from valetkey.storage import accounts, change_feed, grants, personal_access_tokens

from .app_loading import read_json_file, with_runtime
from .printing import json_option, print_result, print_table
from .users_lookup import require_account

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def users() -> None:
    """Create and manage Valetkey's own user accounts."""


@users.command()
@click.option("--email", required=True)
@click.option("--name", default="", help="The name that pages show. [default: from --claims or --email]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--claims", type=_EXISTING_FILE, help="A JSON file with standard claims (OpenID Connect Core §5.1).")
@json_option
@with_runtime
def create(runtime: Runtime, email: str, name: str, password_stdin: bool, claims: Path | None, as_json: bool) -> None:
    """Create a user account.

    Without --password-stdin, a password is generated and shown once.
    """
    if not runtime.has_built_in_accounts:
        raise click.ClickException("the app has users of its own (resource_owner=): Valetkey keeps no accounts here")
    if not is_email_address(email.strip()):
        raise click.ClickException("an e-mail address is needed, like ada@example.org")
    chosen_password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    password = chosen_password or secrets.token_urlsafe(12)
    problem = password_problem(password, email=email)
    if problem:
        raise click.ClickException(problem)
    account_claims = _read_claims(claims, email) if claims else {}
    name = name or str(account_claims.get("name", "")) or email.partition("@")[0]
    sub = create_account(runtime, name=name, email=email, password=password, claims=account_claims)
    print_result(
        {"sub": sub, "email": email.strip().lower(), "password": None if chosen_password else password}, as_json
    )


@users.command("list")
@json_option
@with_runtime
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
    print_table(rows, ("sub", "state", "created_at", "email", "name"), as_json, empty_message="Nobody has an account.")


@users.command()
@click.argument("user")
@with_runtime
def disable(runtime: Runtime, user: str) -> None:
    """Disable a user account, named by e-mail address or sub.

    The user's sessions, access tokens and refresh tokens are revoked within a second.
    """
    account, now = require_account(runtime, user), runtime.clock()
    runtime.revoke(
        accounts.set_disabled(account.sub, now),
        accounts.end_sessions(account.sub, now),
        *owner_logout_statements(account.sub, runtime, now),
        grants.revoke_all_of_owner(account.sub, now),
        personal_access_tokens.revoke_all_of_owner(account.sub, now),
        change_feed.add("owner", account.sub, now, runtime.revocation_expiry),
        audit_statement("account.disabled", now, owner=account.sub),
    )
    click.echo(f"{account.email} is disabled.")


@users.command()
@click.argument("user")
@with_runtime
def enable(runtime: Runtime, user: str) -> None:
    """Enable a disabled user account; apps must request new tokens."""
    account, now = require_account(runtime, user), runtime.clock()
    runtime.revoke(
        grants.revoke_all_of_owner(account.sub, now),  # one may have been created while the account was being disabled
        accounts.set_disabled(account.sub, None),
        audit_statement("account.enabled", now, owner=account.sub),
    )
    click.echo(f"{account.email} is enabled.")


@users.command()
@click.argument("user")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
@with_runtime
def password(runtime: Runtime, user: str, password_stdin: bool, as_json: bool) -> None:
    """Set a user's new password and end the user's sessions.

    Without --password-stdin, a password is generated and shown once.
    """
    account, now = require_account(runtime, user), runtime.clock()
    chosen_password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    new_password = chosen_password or secrets.token_urlsafe(12)
    problem = password_problem(new_password, email=account.email, name=account.name)
    if problem:
        raise click.ClickException(problem)
    runtime.revoke(
        accounts.set_password(account.sub, hash_password(new_password)),
        *end_all_sessions_statements(account.sub, runtime, now),
        audit_statement("account.password_changed", now, owner=account.sub),
    )
    print_result({"email": account.email, "password": None if chosen_password else new_password}, as_json)


def _read_claims(path: Path, email: str) -> dict[str, Any]:
    """Return the claims of a new account that a JSON file contains, by name (OpenID Connect Core §5.1).

    :param email: e-mail address of the account, which the claim ``email`` must equal.
    :raises click.ClickException: if claims are invalid; the message lists every problem.
    """
    claims = read_json_file(path)
    problems = [claim_problem(name, value) or "" for name, value in claims.items()]
    problems += [f"{name} is not a standard claim" for name in claims.keys() - STANDARD_CLAIMS.keys() - {"sub"}]
    if "sub" in claims:
        problems.append("the claim sub is made by the server, for each account its own")
    if claims.get("email", email) != email:
        problems.append(f"the claim email is not {email}")
    if any(problems):
        raise click.ClickException("\n  ".join(problem for problem in problems if problem))
    return claims
