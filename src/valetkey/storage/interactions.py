"""Interactions: validated authorization requests that are pending sign-in and consent."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import interactions


@dataclass(frozen=True, slots=True)
class Interaction:
    """A validated authorization request of one browser. Times are seconds since 1970."""

    digest: bytes
    browser: bytes  # digest of the cookie that identifies the browser
    client_id: str
    request: str  # the validated request as JSON
    expires_at: float
    decided_at: float | None = None


add = InsertStatement(interactions, Interaction)
_FIND = Statement(select(*columns_of(interactions, Interaction)).where(interactions.c.digest == bindparam("digest")))
_DECIDE = Statement(
    update(interactions)
    .where(interactions.c.digest == bindparam("wanted"), interactions.c.decided_at.is_(None))
    .values(decided_at=bindparam("now"))
)
_PENDING_IN_BROWSER = (interactions.c.browser == bindparam("of"), interactions.c.decided_at.is_(None))
_REMOVE_ALL_BUT_NEWEST = Statement(
    delete(interactions).where(
        *_PENDING_IN_BROWSER,
        interactions.c.digest.not_in(
            select(interactions.c.digest)
            .where(*_PENDING_IN_BROWSER)
            .order_by(interactions.c.expires_at.desc())
            .limit(bindparam("most"))
        ),
    )
)


def find(store: Store, digest: bytes) -> Interaction | None:
    """Return the interaction, also if it is decided or expired; ``None`` if there is none."""
    row = store.fetch_one(_FIND(digest=digest))
    return Interaction(row[0], bytes(row[1]), *row[2:]) if row else None


def decide(digest: bytes, now: float) -> BoundStatement:
    """Return the conditional write that marks an interaction as decided; it succeeds only once."""
    return _DECIDE(wanted=digest, now=now)


def remove_all_but_newest(browser: bytes, limit: int) -> BoundStatement:
    """Return the statement that removes a browser's undecided interactions, except for the newest ``limit`` ones.

    It bounds what one browser can store: a user does not decide about dozens of requests at the same time.
    """
    return _REMOVE_ALL_BUT_NEWEST(of=browser, most=limit)
