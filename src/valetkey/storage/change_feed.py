"""The revocation feed: what every process reads within a second."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Double, bindparam, cast, insert, literal, select

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import UNREVOKED_OF_OWNER_AND_CLIENT
from .tables import grants, revocations

# token, grant: dead for good. client, owner, all: whatever was issued before ``at`` is dead.
# changed: not a revocation; whoever remembers this client, or "keys", must read it again.
ChangeKind = Literal["token", "grant", "client", "owner", "all", "changed"]


class ChangeFeedEntry(NamedTuple):
    revocation_id: int
    kind: ChangeKind
    subject: str
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
    """The entries written at or after a moment."""
    return [ChangeFeedEntry(*row) for row in store.fetch_all(_LIST_SINCE(since=since))]


def add(kind: ChangeKind, subject: str, at: float, expires_at: float) -> BoundStatement:
    return _ADD(kind=kind, subject=subject, at=at, expires_at=expires_at)


def add_for_unrevoked_grants(owner: str, client_id: str, at: float, expires_at: float) -> BoundStatement:
    """One entry for each living grant; run it before the grants themselves are marked."""
    return _ADD_FOR_UNREVOKED_GRANTS(of_owner=owner, of_client=client_id, at=at, expires_at=expires_at)
