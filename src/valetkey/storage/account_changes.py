"""Changes of accounts by the operator: other values, and the removal of an account."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, select, update

from .accounts import Account
from .engine.statement import BoundStatement, Statement
from .tables import accounts, sessions

_other = accounts.alias()
_CHANGE = Statement(
    update(accounts)
    .where(
        accounts.c.sub == bindparam("wanted"),
        ~exists(select(_other.c.sub).where(_other.c.email == bindparam("new_email"), _other.c.sub != accounts.c.sub)),
    )
    .values(
        email=bindparam("new_email"),
        name=bindparam("new_name"),
        claims=bindparam("new_claims"),
        email_verified_at=bindparam("new_email_verified_at"),
    )
)
_REMOVE = Statement(delete(accounts).where(accounts.c.sub == bindparam("wanted")))
_REMOVE_SESSIONS = Statement(delete(sessions).where(sessions.c.sub == bindparam("of")))


def change(account: Account) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that writes what the operator may change.

    That is the e-mail address and when it was verified, the name and the claims. It changes nothing if another account
    has the e-mail address, or if the account does not exist any more.

    :param account: the account with its new values.
    """
    return _CHANGE(
        wanted=account.sub,
        new_email=account.email,
        new_name=account.name,
        new_claims=account.claims,
        new_email_verified_at=account.email_verified_at,
    )


def remove(sub: str) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet run, that remove an account and its sessions."""
    return _REMOVE(wanted=sub), _REMOVE_SESSIONS(of=sub)
