"""Changes of accounts by the operator: other values, and the removal of an account."""

from __future__ import annotations

from sqlalchemy import Float, Text, bindparam, delete, exists, func, select, update

from .accounts import Account
from .engine.statement import BoundStatement, Statement
from .tables import accounts, sessions

_other = accounts.alias()
_CHANGE = Statement(
    update(accounts)
    .where(
        accounts.c.sub == bindparam("wanted"),
        # The row is as the caller has read it: no other process has changed the account since.
        func.coalesce(accounts.c.email, "") == bindparam("email_as_read", type_=Text),
        accounts.c.name == bindparam("name_as_read"),
        accounts.c.claims == bindparam("claims_as_read"),
        func.coalesce(accounts.c.email_verified_at, 0.0) == bindparam("email_verified_at_as_read", type_=Float),
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


def change(account: Account, changed: Account) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that writes what the operator may change.

    That is the e-mail address and when it was verified, the name and the claims. It changes nothing if another account
    has the e-mail address, or if the account was changed or removed since it was read.

    :param account: the account as it was read.
    :param changed: the account with its new values.
    """
    return _CHANGE(
        wanted=account.sub,
        email_as_read=account.email or "",
        name_as_read=account.name,
        claims_as_read=account.claims,
        email_verified_at_as_read=account.email_verified_at or 0.0,
        new_email=changed.email,
        new_name=changed.name,
        new_claims=changed.claims,
        new_email_verified_at=changed.email_verified_at,
    )


def remove(sub: str) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet run, that remove an account and its sessions."""
    return _REMOVE(wanted=sub), _REMOVE_SESSIONS(of=sub)
