"""``valetkey users``: the people whose data it is, where Valetkey keeps the accounts."""

from __future__ import annotations

import json
import secrets
import sys

import click

from valetkey.accounts.password import hash_password, password_problem
from valetkey.activity.auditing import audit
from valetkey.authorization_server.session_end import owner_end_rows
from valetkey.resource_owner.signing_in import create_account
from valetkey.resource_owner.signing_out import all_sessions_end_rows
from valetkey.runtime import Runtime
from valetkey.storage import accounts, grants, revocations
from valetkey.storage.accounts import Account

from .opened import json_option, tell, with_runtime


@click.group()
def users() -> None:
    """People with an account."""


@users.command()
@click.option("--email", required=True)
@click.option("--name", default="", help="As people are addressed; the e-mail address's first part where left out.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
@with_runtime
def create(runtime: Runtime, email: str, name: str, password_stdin: bool, as_json: bool) -> None:
    """Make an account; a password that is not given is made up and shown once."""
    if "@" not in email:
        raise click.ClickException("an e-mail address is needed, like ada@example.org")
    given = sys.stdin.readline().rstrip("\n") if password_stdin else None
    password = given or secrets.token_urlsafe(12)
    problem = password_problem(password, email=email)
    if problem:
        raise click.ClickException(problem)
    sub = create_account(runtime, name=name or email.partition("@")[0], email=email, password=password)
    tell({"sub": sub, "email": email.strip().lower(), "password": None if given else password}, as_json)


@users.command("list")
@json_option
@with_runtime
def list_users(runtime: Runtime, as_json: bool) -> None:
    """Show all accounts."""
    found = accounts.every(runtime.store)
    if as_json:
        click.echo(json.dumps([{"sub": one.sub, "email": one.email, "name": one.name} for one in found]))
        return
    for account in found:
        click.echo(f"{account.sub:<24} {'disabled' if account.disabled_at else 'active':<9} {account.email}")


@users.command()
@click.argument("email")
@with_runtime
def disable(runtime: Runtime, email: str) -> None:
    """Put a person out: sessions, tokens and refresh tokens end within a second."""
    account, now = _find(runtime, email), runtime.clock()
    runtime.revoke(
        accounts.set_disabled(account.sub, now),
        accounts.end_sessions(account.sub, now),
        *owner_end_rows(account.sub, runtime, now),
        grants.revoke_owner(account.sub, now),
        revocations.add("owner", account.sub, now, runtime.revocation_ends),
        audit("account.disabled", now, owner=account.sub),
    )
    click.echo(f"{account.email} is disabled.")


@users.command()
@click.argument("email")
@with_runtime
def enable(runtime: Runtime, email: str) -> None:
    """Let a disabled person back in; apps need new tokens."""
    account, now = _find(runtime, email), runtime.clock()
    runtime.revoke(accounts.set_disabled(account.sub, None), audit("account.enabled", now, owner=account.sub))
    click.echo(f"{account.email} is enabled.")


@users.command()
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
@with_runtime
def password(runtime: Runtime, email: str, password_stdin: bool, as_json: bool) -> None:
    """Set another password and end all sessions; one that is not given is made up and shown once."""
    account, now = _find(runtime, email), runtime.clock()
    given = sys.stdin.readline().rstrip("\n") if password_stdin else None
    new = given or secrets.token_urlsafe(12)
    problem = password_problem(new, email=account.email, name=account.name)
    if problem:
        raise click.ClickException(problem)
    runtime.revoke(
        accounts.set_password(account.sub, hash_password(new)),
        *all_sessions_end_rows(account.sub, runtime, now),
        audit("account.password_changed", now, owner=account.sub),
    )
    tell({"email": account.email, "password": None if given else new}, as_json)


def _find(runtime: Runtime, email: str) -> Account:
    account = accounts.find_by_email(runtime.store, email)
    if account is None:
        raise click.ClickException(f"there is no account with the address {email}")
    return account
