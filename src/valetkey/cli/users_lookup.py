"""Whom a command means: an e-mail address of ours, or the ``sub`` that tokens have."""

from __future__ import annotations

import click

from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.accounts import Account


def find_account(runtime: Runtime, user: str) -> Account | None:
    """The account by either name."""
    return accounts.find_by_email(runtime.store, user) if "@" in user else accounts.find(runtime.store, user)


def require_account(runtime: Runtime, user: str) -> Account:
    """The account; where there is none, the command ends with a sentence."""
    account = find_account(runtime, user)
    if account is None:
        raise click.ClickException(f"there is no account {user}; see `valetkey users list`")
    return account


def resolve_sub(runtime: Runtime, user: str) -> str:
    """The ``sub`` of an address of ours; anything else is one already, perhaps of the app's own people."""
    account = find_account(runtime, user) if "@" in user else None
    return account.sub if account else user
