"""The revocation feed: what every process reads within a second."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Double, bindparam, cast, insert, literal, select

from .engine.statement import Bound, Statement
from .engine.store import Store
from .grants import ALIVE_OF_APP
from .tables import grants, revocations

# token, grant: dead for good. client, owner, all: whatever was issued before ``at`` is dead.
# changed: not a revocation; whoever remembers this client, or "keys", must read it again.
Kind = Literal["token", "grant", "client", "owner", "all", "changed"]


class Revocation(NamedTuple):
    revocation_id: int
    kind: Kind
    subject: str
    at: float


_SINCE = Statement(
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
_ADD_GRANTS_OF_APP = Statement(
    insert(revocations).from_select(
        ["kind", "subject", "at", "expires_at"],
        select(
            literal("grant"),
            grants.c.grant_id,
            cast(bindparam("at"), Double),
            cast(bindparam("expires_at"), Double),
        ).where(ALIVE_OF_APP),
    )
)


def since(store: Store, moment: float) -> list[Revocation]:
    """The entries written at or after a moment."""
    return [Revocation(*row) for row in store.all(_SINCE(since=moment))]


def add(kind: Kind, subject: str, at: float, expires_at: float) -> Bound:
    return _ADD(kind=kind, subject=subject, at=at, expires_at=expires_at)


def add_grants_of_app(owner: str, client_id: str, at: float, expires_at: float) -> Bound:
    """One entry for each living grant; run it before the grants themselves are marked."""
    return _ADD_GRANTS_OF_APP(of_owner=owner, of_client=client_id, at=at, expires_at=expires_at)
