"""Interactions: validated authorization requests that wait for the user to sign in and consent in the browser."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Integer, bindparam, delete, exists, literal, select, update

from .consents import IS_AS_READ, Consent, values_as_read
from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import consents, interactions


@dataclass(frozen=True, slots=True)
class Interaction:
    """A validated authorization request, stored until the user approves or denies it. Times are seconds since 1970.

    :param digest: digest of the secret that identifies the request while the user signs in and decides.
    :param decided_at: when the user approved or denied; ``None`` before that.
    """

    digest: bytes
    browser: bytes  # digest of the cookie that identifies the browser
    client_id: str
    request: str  # the validated request as JSON
    expires_at: float
    decided_at: float | None = None


add = InsertStatement(interactions, Interaction)
_FIND = Statement(select(*columns_of(interactions, Interaction)).where(interactions.c.digest == bindparam("digest")))
_DECIDE_ONCE = (
    update(interactions)
    .where(interactions.c.digest == bindparam("wanted"), interactions.c.decided_at.is_(None))
    .values(decided_at=bindparam("now"))
)
_DECIDE = Statement(_DECIDE_ONCE)
# Locks the consent's row: a concurrent withdrawal waits, and then revokes or narrows the new grant too.
_DECIDE_IF_CONSENTED = Statement(
    _DECIDE_ONCE.where(
        exists(select(literal(1, Integer)).select_from(consents).where(IS_AS_READ).with_for_update(read=True))
    )
)
_REMOVE_ALL_OF_CLIENT = Statement(delete(interactions).where(interactions.c.client_id == bindparam("of_client")))
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
    """Return the stored authorization request with this digest, also if it is decided or expired; else ``None``."""
    row = store.fetch_one(_FIND(digest=digest))
    return Interaction(row[0], bytes(row[1]), *row[2:]) if row else None


def decide(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that marks an authorization request as decided (approved or denied).

    It changes a row only the first time. Used as the condition of a ``Transaction``, it keeps the transaction's other
    statements from running a second time.
    """
    return _DECIDE(wanted=digest, now=now)


def decide_if_consented(digest: bytes, consent: Consent, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that does what ``decide`` does.

    It changes nothing if the owner's remembered consent to the client was withdrawn or has changed.

    :param consent: the consent as it was read; it must have an identity.
    """
    return _DECIDE_IF_CONSENTED(wanted=digest, now=now, **values_as_read(consent))


def remove_all_but_newest(browser: bytes, limit: int) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a browser's older undecided authorization requests.

    The newest ``limit`` requests stay. This bounds what one browser can store: a user does not decide about dozens
    of requests at the same time.
    """
    return _REMOVE_ALL_BUT_NEWEST(of=browser, most=limit)


def remove_all_of_client(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the authorization requests of a client."""
    return _REMOVE_ALL_OF_CLIENT(of_client=client_id)
