"""The change feed: rows that every process polls, so that revocations and changes take effect within a second."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Double, bindparam, cast, insert, literal, select

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import UNREVOKED_OF_OWNER_AND_CLIENT
from .tables import grants, revocations

# "token", "grant": this token or grant is revoked for good. "client", "owner", "all": all tokens of the client or
# resource owner, or all tokens, that were issued before ``at`` are revoked. "changed" revokes nothing: cached values
# of the subject (a client id, "keys" or "resources") are stale and must be read again.
ChangeKind = Literal["token", "grant", "client", "owner", "all", "changed"]


class ChangeFeedEntry(NamedTuple):
    """A row of the change feed: what was revoked or changed. ``at`` is in seconds since 1970."""

    revocation_id: int
    kind: ChangeKind
    subject: str  # id of the token, grant or client, or the owner's ``sub``, as ``kind`` says
    at: float


_LIST_SINCE = Statement(
    select(revocations.c.revocation_id, revocations.c.kind, revocations.c.subject, revocations.c.at).where(
        revocations.c.at >= bindparam("since")
    )
)
_ADD = Statement(
    insert(revocations).values(
        kind=bindparam("kind"),
        subject=bindparam("subject"),
        at=bindparam("at"),
        expires_at=bindparam("expires_at"),
    )
)
_ADD_FOR_UNREVOKED_GRANTS = Statement(
    insert(revocations).from_select(
        ["kind", "subject", "at", "expires_at"],
        select(
            literal("grant"),
            grants.c.grant_id,
            cast(bindparam("at"), Double),
            cast(bindparam("expires_at"), Double),
        ).where(UNREVOKED_OF_OWNER_AND_CLIENT),
    )
)


def list_since(store: Store, since: float) -> list[ChangeFeedEntry]:
    """Return the revocations and changes at or after ``since`` (seconds since 1970), in no particular order."""
    return [ChangeFeedEntry(*row) for row in store.fetch_all(_LIST_SINCE(since=since))]


def add(kind: ChangeKind, subject: str, at: float, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds an entry to the change feed.

    :param kind: what is revoked or changed, such as ``grant`` or ``client``.
    :param subject: id of the token, grant or client, or the owner's ``sub``, depending on ``kind``.
    :param at: time of the change (seconds since 1970).
    :param expires_at: when the entry may be pruned (seconds since 1970): no earlier than the expiry of the last token
        that it revokes.
    """
    return _ADD(kind=kind, subject=subject, at=at, expires_at=expires_at)


def add_for_unrevoked_grants(owner: str, client_id: str, at: float, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that announces the revocation of all grants of an owner to a client.

    It adds a change feed entry of the kind ``grant`` for each of these grants that is not revoked. In a transaction it
    must come before the statement that revokes them, since it selects unrevoked ones.

    :param expires_at: when the entries may be pruned (seconds since 1970).
    """
    return _ADD_FOR_UNREVOKED_GRANTS(of_owner=owner, of_client=client_id, at=at, expires_at=expires_at)
