"""Find the user that a command names: by the e-mail address of a built-in account, or by ``sub``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from valetkey.runtime import Runtime
from valetkey.storage import accounts, active_grants, personal_access_tokens
from valetkey.storage.accounts import Account
from valetkey.storage.engine.store import Store

from .app_loading import with_runtime


def with_accounts(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command function for built-in accounts: as ``with_runtime``, but refuse an app with its own users."""

    @with_runtime
    @wraps(command)
    def run(runtime: Runtime, *args: Any, **kwargs: Any) -> None:
        if not runtime.has_built_in_accounts:
            raise click.ClickException(
                "this app has its own users (resource_owner=), and Valetkey has no accounts: manage users in the app, "
                "and call Valetkey.revoke_owner when one is removed or disabled"
            )
        command(runtime, *args, **kwargs)

    return run


def require_account(store: Store, user: str) -> Account:
    """Return the built-in account with this e-mail address or ``sub``.

    :raises click.ClickException: if there is no such account.
    """
    account = accounts.find_by_email(store, user) if "@" in user else accounts.find(store, user)
    if account is None:
        raise click.ClickException(f"unknown user {user}; see `valetkey users list`")
    return account


def resolve_sub(runtime: Runtime, user: str) -> str:
    """Return the ``sub`` of a user who is named by ``sub`` or, if accounts are built-in, by e-mail address.

    :raises click.ClickException: if there is no such account, or if the users are the host app's and ``user`` is an
        e-mail address and not the ``sub`` of one of them.
    """
    if runtime.has_built_in_accounts:
        return require_account(runtime.store, user).sub
    if "@" in user and not _is_sub_of_host(runtime, user):
        raise click.ClickException(
            "this app has its own users (resource_owner=): name the user by the id (sub) that the app has for them, "
            "not by an e-mail address"
        )
    return user


def _is_sub_of_host(runtime: Runtime, user: str) -> bool:
    """Return whether a text is the ``sub`` of a user of the host app, as far as this can be determined.

    :raises ResourceOwnersUnavailable: if the app's ``find`` raises an exception.
    """
    if active_grants.list_active(runtime.store, runtime.clock(), owner=user, limit=1):
        return True
    if personal_access_tokens.list_by_owner(runtime.store, user):
        return True
    return runtime.can_find_host_users and runtime.owners.find(user) is not None
