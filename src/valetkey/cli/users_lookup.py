"""Find the user that a command names: by the e-mail address of a built-in account, or by ``sub``."""

from __future__ import annotations

import click

from valetkey.storage import accounts
from valetkey.storage.accounts import Account
from valetkey.storage.engine.store import Store


def find_account(store: Store, user: str) -> Account | None:
    """Return the built-in account with this e-mail address or ``sub``, or ``None`` if there is none."""
    return accounts.find_by_email(store, user) if "@" in user else accounts.find(store, user)


def require_account(store: Store, user: str) -> Account:
    """Return the built-in account with this e-mail address or ``sub``.

    :raises click.ClickException: if there is no such account.
    """
    account = find_account(store, user)
    if account is None:
        raise click.ClickException(f"unknown user {user}; see `valetkey users list`")
    return account


def resolve_sub(store: Store, user: str) -> str:
    """Return the ``sub`` of a user who is named by e-mail address or ``sub``.

    If there is no built-in account with this e-mail address, return ``user`` unchanged: it is taken for a ``sub``,
    perhaps of a user of the host app.
    """
    account = find_account(store, user) if "@" in user else None
    return account.sub if account else user
