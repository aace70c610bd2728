"""Sign-in sessions of built-in accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Executable, and_, bindparam, cast, select, update

from valetkey.protocol.secret import random_id

from .accounts import ACCOUNT_COLUMNS, HAS_VERIFIED_PASSWORD, Account
from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import accounts, sessions


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in session of a resource owner in one browser. Times are seconds since 1970.

    ``auth_time`` is when the user signed in; ``None`` if a provider authenticated the user, and does not say when.
    ``ended_at`` is ``None`` until the session is ended, for example by signing out. ``issuer``, ``subject`` and
    ``issuer_sid`` identify the provider of the sign-in, its user and its session; ``issuer`` is ``None`` if the sign-in
    was with a password. ``amr`` is a JSON array.
    """

    digest: bytes  # of the session cookie
    sub: str
    browser: bytes  # digest of the cookie that identifies the browser
    began_at: float
    auth_time: float | None
    expires_at: float
    address: str | None
    ended_at: float | None = None
    sid: str = field(default_factory=random_id)  # the session's id in tokens for clients; not a credential
    issuer: str | None = None
    subject: str | None = None
    issuer_sid: str | None = None
    acr: str | None = None
    amr: str | None = None


_SESSION_COLUMNS = columns_of(sessions, Session)
add = InsertStatement(sessions, Session)


def _begin_session(insert: Any) -> Executable:
    values = select(*(cast(bindparam(column.name), column.type) for column in _SESSION_COLUMNS))
    account = values.where(HAS_VERIFIED_PASSWORD).with_for_update(key_share=True, of=accounts)
    names = [column.name for column in _SESSION_COLUMNS]
    statement: Executable = insert(sessions).from_select(names, account).on_conflict_do_nothing()
    return statement


_BEGIN_SESSION = Statement(_begin_session)
_FIND_ACTIVE_SESSION = Statement(
    select(*_SESSION_COLUMNS, *ACCOUNT_COLUMNS)
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
    .where(sessions.c.sub == bindparam("of"), sessions.c.digest != bindparam("current"), sessions.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
)
_END_SESSIONS_OF_PROVIDER = Statement(
    update(sessions)
    .where(
        sessions.c.sub == bindparam("of"),
        sessions.c.issuer == bindparam("provider"),
        sessions.c.digest != bindparam("current"),
        sessions.c.ended_at.is_(None),
    )
    .values(ended_at=bindparam("now"))
)


def begin(session: Session, account: Account) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a session.

    It adds none if the session exists already, or if the account was disabled or got another password after ``account``
    was read.
    """
    return _BEGIN_SESSION(**add(session).values, wanted=account.sub, verified=account.password_hash)


def find_active(store: Store, digest: bytes, now: float) -> tuple[Session, Account] | None:
    """Return the sign-in session with this digest of its cookie, and its account.

    ``None`` if there is no such session, if it has ended or expired, or if the account is disabled.
    """
    row = store.fetch_one(_FIND_ACTIVE_SESSION(digest=digest, now=now))
    return (Session(*row[: len(_SESSION_COLUMNS)]), Account(*row[len(_SESSION_COLUMNS) :])) if row else None


def list_active(store: Store, sub: str, now: float) -> list[Session]:
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


def end(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that ends a session.

    It changes nothing if the session has ended already.

    :param digest: digest of the session cookie.
    """
    return _END_SESSION(wanted=digest, now=now)


def end_others(sub: str, current_digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends all sessions of an account except the current one.

    :param current_digest: digest of the cookie of the session that stays active.
    """
    return _END_OTHER_SESSIONS(of=sub, current=current_digest, now=now)


def end_others_of_provider(sub: str, issuer: str, current_digest: bytes | None, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends the sessions of an account that began with a provider.

    :param issuer: the provider's issuer.
    :param current_digest: digest of the cookie of a session that stays active; ``None`` to end all.
    """
    return _END_SESSIONS_OF_PROVIDER(of=sub, provider=issuer, current=current_digest or b"", now=now)


def end_all(sub: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends all sign-in sessions of an account."""
    return _END_SESSIONS(of=sub, now=now)
