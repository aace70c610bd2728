"""Changes and removals of accounts by the operator."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.end_owner import end_owner
from valetkey.runtime import Runtime
from valetkey.storage import account_changes, accounts, consents, mail_links, provider_disconnections, provider_links
from valetkey.storage.accounts import Account
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction

from . import texts
from .errors import SignInRefused


def change_account(account: Account, changed: Account, store: Store, now: float) -> None:
    """Write new values of an account. Links that were mailed to an address that it no longer has become invalid.

    :param account: the account as it was read.
    :param changed: the same with other values of ``email``, ``name``, ``claims`` or ``email_verified_at``.
    :raises SignInRefused: if another account has the e-mail address, or the account was changed or removed meanwhile.
    """
    rows = [audit_statement("account.changed", now, owner=account.sub)]
    if changed.email != account.email:
        rows.append(mail_links.invalidate_all(account.email, now))
    if not store.write(Transaction(account_changes.change(account, changed), tuple(rows))):
        other = accounts.find_by_email(store, changed.email) if changed.email else None
        is_taken = other is not None and other.sub != account.sub
        raise SignInRefused(texts.ACCOUNT_EXISTS if is_taken else texts.ACCOUNT_CHANGED)


def remove_account(account: Account, runtime: Runtime, now: float) -> None:
    """Remove an account with its sessions and consents, and end its tokens in every process.

    The audit log keeps what was done with the account, without its e-mail address.
    """
    end_owner(
        runtime,
        account.sub,
        now,
        *account_changes.remove(account.sub),
        provider_links.remove_all_of_account(account.sub),
        provider_disconnections.remove_all_of_account(account.sub),
        consents.remove_all_of_owner(account.sub),
        mail_links.invalidate_all(account.email, now),
        audit_statement("account.removed", now, owner=account.sub),
    )
