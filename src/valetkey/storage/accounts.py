"""People's accounts and their sign-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Executable, and_, bindparam, select, update

from valetkey.protocol.secret import random_id

from .engine.records import Insert, columns_of, to_json
from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import accounts, sessions


@dataclass(frozen=True, slots=True)
class Account:
    sub: str
    email: str
    name: str
    password_hash: str | None
    claims: str
    created_at: float
    disabled_at: float | None = None
    email_verified_at: float | None = None

    @property
    def claim_values(self) -> Mapping[str, Any]:
        return dict(json.loads(self.claims))


@dataclass(frozen=True, slots=True)
class Session:
    digest: bytes
    sub: str
    browser: bytes
    auth_time: float
    expires_at: float
    address: str | None
    ended_at: float | None = None
    sid: str = field(default_factory=random_id)  # names the sign-in to clients, and opens nothing


_ACCOUNT = columns_of(accounts, Account)
_SESSION = columns_of(sessions, Session)


def _add(insert: Any) -> Executable:
    made: Executable = (
        insert(accounts).values({column.name: bindparam(column.name) for column in _ACCOUNT}).on_conflict_do_nothing()
    )
    return made


_ADD = Statement(_add)
_BY_SUB = Statement(select(*_ACCOUNT).where(accounts.c.sub == bindparam("sub")))
_BY_EMAIL = Statement(select(*_ACCOUNT).where(accounts.c.email == bindparam("email")))
_ALL = Statement(select(*_ACCOUNT).order_by(accounts.c.created_at))
_SET_PASSWORD = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(password_hash=bindparam("hashed"))
)
_SET_DISABLED = Statement(
    update(accounts).where(accounts.c.sub == bindparam("wanted")).values(disabled_at=bindparam("moment"))
)
_SET_VERIFIED = Statement(
    update(accounts)
    .where(accounts.c.sub == bindparam("wanted"), accounts.c.email == bindparam("address"))
    .values(email_verified_at=bindparam("moment"))
)
ADD_SESSION = Insert(sessions, Session)
_FIND_SESSION = Statement(
    select(*_SESSION, *_ACCOUNT)
    .join_from(sessions, accounts, sessions.c.sub == accounts.c.sub)
    .where(
        sessions.c.digest == bindparam("digest"),
        sessions.c.ended_at.is_(None),
        sessions.c.expires_at > bindparam("now"),
        accounts.c.disabled_at.is_(None),
    )
)
_LIVE_OF = Statement(
    select(*_SESSION).where(
        sessions.c.sub == bindparam("sub"), sessions.c.ended_at.is_(None), sessions.c.expires_at > bindparam("now")
    )
)
_KNOWS = Statement(
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
_END_OTHERS = Statement(
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
) -> Bound:
    """The claim on an e-mail address: lost where an account has it already."""
    return _ADD(
        sub=sub,
        email=email,
        name=name,
        password_hash=password_hash,
        claims=to_json(dict(claims or {})),
        created_at=now,
        disabled_at=None,
        email_verified_at=None,
    )


def find(store: Store, sub: str) -> Account | None:
    row = store.one(_BY_SUB(sub=sub))
    return Account(*row) if row else None


def find_by_email(store: Store, email: str) -> Account | None:
    row = store.one(_BY_EMAIL(email=email.strip().lower()))
    return Account(*row) if row else None


def every(store: Store) -> list[Account]:
    return [Account(*row) for row in store.all(_ALL())]


def set_password(sub: str, password_hash: str) -> Bound:
    return _SET_PASSWORD(wanted=sub, hashed=password_hash)


def set_disabled(sub: str, moment: float | None) -> Bound:
    return _SET_DISABLED(wanted=sub, moment=moment)


def set_email_verified(sub: str, email: str, moment: float) -> Bound:
    """Note that the reader of this address is this person; nothing where the account has another address by now."""
    return _SET_VERIFIED(wanted=sub, address=email, moment=moment)


def find_session(store: Store, digest: bytes, now: float) -> tuple[Session, Account] | None:
    """A sign-in that lasts, of an account that is not disabled."""
    row = store.one(_FIND_SESSION(digest=digest, now=now))
    return (Session(*row[: len(_SESSION)]), Account(*row[len(_SESSION) :])) if row else None


def live_sessions(store: Store, sub: str, now: float) -> list[Session]:
    """All sign-ins of a person that last."""
    return [Session(*row) for row in store.all(_LIVE_OF(sub=sub, now=now))]


def is_known_browser(store: Store, browser: bytes, sub: str) -> bool:
    """Whether somebody has signed in to this account from this browser before."""
    return store.one(_KNOWS(browser=browser, sub=sub)) is not None


def end_session(digest: bytes, now: float) -> Bound:
    return _END_SESSION(wanted=digest, now=now)


def end_other_sessions(sub: str, digest: bytes, now: float) -> Bound:
    """End all sign-ins of a person but this one."""
    return _END_OTHERS(of=sub, kept=digest, now=now)


def end_sessions(sub: str, now: float) -> Bound:
    return _END_SESSIONS(of=sub, now=now)
