"""Accounts of resource owners, and their sign-in sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Executable, and_, bindparam, cast, null, select, update

from valetkey.protocol.email_address import normalize_email_address
from valetkey.protocol.secret import random_id

from .engine.records import InsertStatement, columns_of, to_json
from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .tables import accounts, sessions


@dataclass(frozen=True, slots=True)
class Account:
    """A resource owner's account, as stored in its database row. Times are seconds since 1970.

    ``disabled_at`` is ``None`` if the account is enabled, ``email_verified_at`` if the address is not verified,
    ``password_hash`` if the account has no password, and ``signed_in_at`` if nobody ever signed in.
    ``unreviewed_since`` is when the password was reset, until the owner has looked through what else has access to the
    account; else ``None``.
    """

    sub: str
    email: str
    name: str
    password_hash: str | None
    claims: str  # a JSON object; see ``claim_values``
    created_at: float
    disabled_at: float | None = None
    email_verified_at: float | None = None
    signed_in_at: float | None = None
    unreviewed_since: float | None = None

    @property
    def claim_values(self) -> Mapping[str, Any]:
        return dict(json.loads(self.claims))


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in session of a resource owner in one browser. Times are seconds since 1970.

    ``ended_at`` is ``None`` until the session is ended, for example by signing out. ``issuer``, ``subject`` and
    ``issuer_sid`` identify the provider of the sign-in, its user and its session; ``issuer`` is ``None`` if the sign-in
    was with a password. ``amr`` is a JSON array.
    """

    digest: bytes  # of the session cookie
    sub: str
    browser: bytes  # digest of the cookie that identifies the browser
    auth_time: float
    expires_at: float
    address: str | None
    ended_at: float | None = None
    sid: str = field(default_factory=random_id)  # the session's id in tokens for clients; not a credential
    issuer: str | None = None
    subject: str | None = None
    issuer_sid: str | None = None
    acr: str | None = None
    amr: str | None = None


_ACCOUNT_COLUMNS = columns_of(accounts, Account)
_SESSION_COLUMNS = columns_of(sessions, Session)


def _add(insert: Any) -> Executable:
    statement: Executable = (
        insert(accounts)
        .values({column.name: bindparam(column.name) for column in _ACCOUNT_COLUMNS})
        .on_conflict_do_nothing()
    )
    return statement


_ADD = Statement(_add)
_FIND_BY_SUB = Statement(select(*_ACCOUNT_COLUMNS).where(accounts.c.sub == bindparam("sub")))
_FIND_BY_EMAIL = Statement(select(*_ACCOUNT_COLUMNS).where(accounts.c.email == bindparam("email")))
_ALL = Statement(select(*_ACCOUNT_COLUMNS).order_by(accounts.c.created_at))
_SET_PASSWORD = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(password_hash=bindparam("hashed"))
)
_SET_DISABLED = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(disabled_at=bindparam("moment"))
)
_SET_EMAIL_VERIFIED = Statement(
    update(accounts)
    .where(accounts.c.sub == bindparam("wanted"), accounts.c.email == bindparam("address"))
    .values(email_verified_at=bindparam("moment"))
)
_HAS_VERIFIED_PASSWORD = and_(
    accounts.c.sub == bindparam("wanted"),
    accounts.c.password_hash.is_not_distinct_from(bindparam("verified")),  # null: the account has no password
    accounts.c.disabled_at.is_(None),
)
_REPLACE_PASSWORD = Statement(update(accounts).where(_HAS_VERIFIED_PASSWORD).values(password_hash=bindparam("hashed")))
_SET_SIGNED_IN = Statement(update(accounts).where(_HAS_VERIFIED_PASSWORD).values(signed_in_at=bindparam("moment")))
_SET_UNREVIEWED = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(unreviewed_since=WRITE_TIME)
)
_SET_REVIEWED = Statement(update(accounts).where(accounts.c.sub == bindparam("wanted")).values(unreviewed_since=null()))
add_session = InsertStatement(sessions, Session)


def _begin_session(insert: Any) -> Executable:
    values = select(*(cast(bindparam(column.name), column.type) for column in _SESSION_COLUMNS))
    account = values.where(_HAS_VERIFIED_PASSWORD).with_for_update(key_share=True, of=accounts)
    names = [column.name for column in _SESSION_COLUMNS]
    statement: Executable = insert(sessions).from_select(names, account).on_conflict_do_nothing()
    return statement


_BEGIN_SESSION = Statement(_begin_session)
_FIND_ACTIVE_SESSION = Statement(
    select(*_SESSION_COLUMNS, *_ACCOUNT_COLUMNS)
    .join_from(sessions, accounts, sessions.c.sub == accounts.c.sub)
    .where(
        sessions.c.digest == bindparam("digest"),
        sessions.c.ended_at.is_(None),
        sessions.c.expires_at > bindparam("now"),
        accounts.c.disabled_at.is_(None),
    )
)
_LIST_ACTIVE_SESSIONS = Statement(
    select(*_SESSION_COLUMNS).where(
        sessions.c.sub == bindparam("sub"), sessions.c.ended_at.is_(None), sessions.c.expires_at > bindparam("now")
    )
)
_IS_ACTIVE_AT_PROVIDER = (
    sessions.c.issuer == bindparam("issuer"),
    sessions.c.ended_at.is_(None),
    sessions.c.expires_at > bindparam("now"),
)
_LIST_ACTIVE_BY_ISSUER_SID = Statement(
    select(*_SESSION_COLUMNS).where(sessions.c.issuer_sid == bindparam("issuer_sid"), *_IS_ACTIVE_AT_PROVIDER)
)
_LIST_ACTIVE_BY_SUBJECT = Statement(
    select(*_SESSION_COLUMNS).where(sessions.c.subject == bindparam("subject"), *_IS_ACTIVE_AT_PROVIDER)
)
_FIND_SESSION_FROM_BROWSER = Statement(
    select(sessions.c.digest)
    .where(and_(sessions.c.browser == bindparam("browser"), sessions.c.sub == bindparam("sub")))
    .limit(1)
)
_END_SESSION = Statement(
    update(sessions)
    .where(sessions.c.digest == bindparam("wanted"), sessions.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
)
_END_SESSIONS = Statement(
    update(sessions)
    .where(sessions.c.sub == bindparam("of"), sessions.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
)
_END_OTHER_SESSIONS = Statement(
    update(sessions)
    .where(sessions.c.sub == bindparam("of"), sessions.c.digest != bindparam("kept"), sessions.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
)


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


def set_signed_in(account: Account, signed_in_at: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records a sign-in.

    It changes nothing if the account was disabled or got another password after ``account`` was read.
    """
    return _SET_SIGNED_IN(wanted=account.sub, verified=account.password_hash, moment=signed_in_at)


def begin_session(session: Session, account: Account) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a session.

    It adds none if the session exists already, or if the account was disabled or got another password after ``account``
    was read.
    """
    return _BEGIN_SESSION(**add_session(session).values, wanted=account.sub, verified=account.password_hash)


def set_unreviewed(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that records that the password was reset now.

    The time is that of the write: what a session began until then, which the reset ends, is from before the reset.
    """
    return _SET_UNREVIEWED(wanted=sub)


def set_reviewed(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that records that the owner has reviewed what else has access."""
    return _SET_REVIEWED(wanted=sub)


def find_active_session(store: Store, digest: bytes, now: float) -> tuple[Session, Account] | None:
    """Return the sign-in session with this digest of its cookie, and its account.

    ``None`` if there is no such session, if it has ended or expired, or if the account is disabled.
    """
    row = store.fetch_one(_FIND_ACTIVE_SESSION(digest=digest, now=now))
    return (Session(*row[: len(_SESSION_COLUMNS)]), Account(*row[len(_SESSION_COLUMNS) :])) if row else None


def list_active_sessions(store: Store, sub: str, now: float) -> list[Session]:
    """Return the account's sign-in sessions that have neither ended nor expired, in no particular order."""
    return [Session(*row) for row in store.fetch_all(_LIST_ACTIVE_SESSIONS(sub=sub, now=now))]


def list_active_at_provider(
    store: Store, issuer: str, subject: str | None, issuer_sid: str | None, now: float
) -> list[Session]:
    """Return the active sessions that began with a sign-in at a provider.

    :param subject: the user's id at the provider; ``None`` for any.
    :param issuer_sid: id of the session at the provider; ``None`` for all sessions of the user.
    """
    if issuer_sid is not None:
        statement = _LIST_ACTIVE_BY_ISSUER_SID(issuer=issuer, issuer_sid=issuer_sid, now=now)
    else:
        statement = _LIST_ACTIVE_BY_SUBJECT(issuer=issuer, subject=subject, now=now)
    found = [Session(*row) for row in store.fetch_all(statement)]
    return [session for session in found if subject in (None, session.subject)]


def has_session_from_browser(store: Store, browser: bytes, sub: str) -> bool:
    """Return whether the account was signed in to from this browser before.

    Ended and expired sessions count too, until their rows are pruned 90 days after they expire.

    :param browser: digest of the cookie that identifies the browser.
    """
    return store.fetch_one(_FIND_SESSION_FROM_BROWSER(browser=browser, sub=sub)) is not None


def end_session(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that ends a session.

    It changes nothing if the session has ended already.

    :param digest: digest of the session cookie.
    """
    return _END_SESSION(wanted=digest, now=now)


def end_other_sessions(sub: str, current_digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends all sessions of an account except the current one.

    :param current_digest: digest of the cookie of the session that stays active.
    """
    return _END_OTHER_SESSIONS(of=sub, kept=current_digest, now=now)


def end_sessions(sub: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends all sign-in sessions of an account."""
    return _END_SESSIONS(of=sub, now=now)
