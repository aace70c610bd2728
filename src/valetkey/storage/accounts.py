"""Accounts of resource owners, and their sign-in sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, and_, bindparam, null, select, update

from valetkey.protocol.email_address import normalize_email_address

from .engine.records import columns_of, to_json
from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .tables import accounts

_ADDRESS_CLAIMS = frozenset({"email", "email_verified"})


@dataclass(frozen=True, slots=True)
class Account:
    """A resource owner's account, as stored in its database row. Times are seconds since 1970.

    ``email`` is ``None`` if the address was removed, because the user of a provider has proved that it is theirs.
    ``disabled_at`` is ``None`` if the account is enabled, ``email_verified_at`` if the address is not verified,
    ``password_hash`` if the account has no password, and ``signed_in_at`` if nobody ever signed in.
    ``unreviewed_since`` is when the password was reset, until the owner has looked through what else has access to the
    account; else ``None``.
    """

    sub: str
    email: str | None
    name: str
    password_hash: str | None
    claims: str  # a JSON object; see ``claim_values``
    created_at: float
    disabled_at: float | None = None
    email_verified_at: float | None = None
    signed_in_at: float | None = None
    unreviewed_since: float | None = None

    @property
    def label(self) -> str:
        """The e-mail address or, if the account has none, its ``sub``: for messages to the operator."""
        return self.email or self.sub

    @property
    def has_usable_password(self) -> bool:
        """Whether the account has a password and an e-mail address, which the sign-in form asks for."""
        return self.password_hash is not None and self.email is not None

    @property
    def claim_values(self) -> Mapping[str, Any]:
        """The stored claims. The claims about the address come from ``email`` and ``email_verified_at`` instead."""
        return {name: value for name, value in json.loads(self.claims).items() if name not in _ADDRESS_CLAIMS}


ACCOUNT_COLUMNS = columns_of(accounts, Account)


def _add(insert: Any) -> Executable:
    statement: Executable = (
        insert(accounts)
        .values({column.name: bindparam(column.name) for column in ACCOUNT_COLUMNS})
        .on_conflict_do_nothing()
    )
    return statement


_ADD = Statement(_add)
_FIND_BY_SUB = Statement(select(*ACCOUNT_COLUMNS).where(accounts.c.sub == bindparam("sub")))
_FIND_BY_EMAIL = Statement(select(*ACCOUNT_COLUMNS).where(accounts.c.email == bindparam("email")))
_ALL = Statement(select(*ACCOUNT_COLUMNS).order_by(accounts.c.created_at))
_SET_PASSWORD = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(password_hash=bindparam("hashed"))
)
_LOCK = Statement(select(accounts.c.sub).where(accounts.c.sub == bindparam("locked")).with_for_update())
_SET_DISABLED = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(disabled_at=bindparam("moment"))
)
_SET_EMAIL_VERIFIED = Statement(
    update(accounts)
    .where(accounts.c.sub == bindparam("wanted"), accounts.c.email == bindparam("address"))
    .values(email_verified_at=bindparam("moment"))
)
_REMOVE_UNVERIFIED_EMAIL = Statement(
    update(accounts)
    .where(
        accounts.c.sub == bindparam("wanted"),
        accounts.c.email == bindparam("address"),
        accounts.c.email_verified_at.is_(None),
        accounts.c.disabled_at.is_(None),
    )
    .values(email=null())
)
HAS_VERIFIED_PASSWORD = and_(
    accounts.c.sub == bindparam("wanted"),
    accounts.c.password_hash.is_not_distinct_from(bindparam("verified")),  # null: the account has no password
    accounts.c.disabled_at.is_(None),
)
_REPLACE_PASSWORD = Statement(update(accounts).where(HAS_VERIFIED_PASSWORD).values(password_hash=bindparam("hashed")))
_SET_SIGNED_IN = Statement(update(accounts).where(HAS_VERIFIED_PASSWORD).values(signed_in_at=bindparam("moment")))
_SET_UNREVIEWED = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(unreviewed_since=WRITE_TIME)
)
_SET_REVIEWED = Statement(update(accounts).where(accounts.c.sub == bindparam("wanted")).values(unreviewed_since=null()))


def add(
    sub: str,
    email: str,
    name: str,
    password_hash: str | None,
    now: float,
    claims: Mapping[str, Any] | None = None,
) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds an account.

    It adds none if another account has the same ``sub`` or e-mail address.

    :param now: when the account was created (seconds since 1970).
    :param claims: OpenID Connect claims about the owner.
    """
    return _ADD(
        sub=sub,
        email=email,
        name=name,
        password_hash=password_hash,
        claims=to_json(dict(claims or {})),
        created_at=now,
        disabled_at=None,
        email_verified_at=None,
        signed_in_at=None,
        unreviewed_since=None,
    )


def find(store: Store, sub: str) -> Account | None:
    """Return the account with this ``sub`` (the owner's id), also if it is disabled; ``None`` if there is none."""
    row = store.fetch_one(_FIND_BY_SUB(sub=sub))
    return Account(*row) if row else None


def find_by_email(store: Store, email: str) -> Account | None:
    """Return the account with this e-mail address, or ``None``. Case and surrounding spaces do not matter."""
    row = store.fetch_one(_FIND_BY_EMAIL(email=normalize_email_address(email)))
    return Account(*row) if row else None


def list_all(store: Store) -> list[Account]:
    """Return all accounts, oldest first, including disabled ones."""
    return [Account(*row) for row in store.fetch_all(_ALL())]


def lock(sub: str) -> BoundStatement:
    """Return the SQL statement, to be run as one of ``BoundStatement.locks``, that locks an account until the commit.

    The statements after it see all changes by transactions that changed or locked the account before.
    """
    return _LOCK(locked=sub)


def set_password(sub: str, password_hash: str) -> BoundStatement:
    return _SET_PASSWORD(wanted=sub, hashed=password_hash)


def replace_password(account: Account, password_hash: str) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that replaces a password that was verified.

    It changes nothing if the account was disabled or got another password after ``account`` was read.
    """
    return _REPLACE_PASSWORD(wanted=account.sub, verified=account.password_hash, hashed=password_hash)


def set_disabled(sub: str, disabled_at: float | None) -> BoundStatement:
    """Return the SQL statement, not yet run, that disables an account, or enables it if ``disabled_at`` is ``None``."""
    return _SET_DISABLED(wanted=sub, moment=disabled_at)


def set_email_verified(sub: str, email: str, verified_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that marks an account's e-mail address as verified.

    It changes nothing if the account's address is not ``email`` any more.
    """
    return _SET_EMAIL_VERIFIED(wanted=sub, address=email, moment=verified_at)


def remove_unverified_email(sub: str, email: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes an account's e-mail address.

    It changes nothing if the address is verified or is not ``email`` any more, or if the account is disabled. It locks
    the account.
    """
    return BoundStatement(_REMOVE_UNVERIFIED_EMAIL, {"wanted": sub, "address": email}, (lock(sub),))


def set_signed_in(account: Account, signed_in_at: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records a sign-in.

    It changes nothing if the account was disabled or got another password after ``account`` was read.
    """
    return _SET_SIGNED_IN(wanted=account.sub, verified=account.password_hash, moment=signed_in_at)


def set_unreviewed(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that records that the password was reset now.

    The time is that of the write: what a session began until then, which the reset ends, is from before the reset.
    """
    return _SET_UNREVIEWED(wanted=sub)


def set_reviewed(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that records that the owner has reviewed what else has access."""
    return _SET_REVIEWED(wanted=sub)
