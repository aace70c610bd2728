"""Grants by the sign-in in which they were given: whom its end concerns."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from .grants import Grant
from .records import columns_of
from .statement import Statement
from .store import Store
from .tables import grants

_CLIENTS = Statement(select(grants.c.client_id).where(grants.c.sid == bindparam("sid")).distinct())
_LIVING = Statement(
    select(*columns_of(grants, Grant)).where(
        grants.c.sid == bindparam("sid"), grants.c.revoked_at.is_(None), grants.c.expires_at > bindparam("now")
    )
)
_OF_OWNER = Statement(select(grants.c.client_id, grants.c.sid).where(grants.c.owner == bindparam("owner")).distinct())


def clients_of(store: Store, sid: str) -> list[str]:
    """The clients that got anything in a sign-in, also what is over by now."""
    return sorted(row[0] for row in store.all(_CLIENTS(sid=sid)))


def living(store: Store, sid: str, now: float) -> list[Grant]:
    return [Grant(*row) for row in store.all(_LIVING(sid=sid, now=now))]


def sessions_of_owner(store: Store, owner: str) -> list[tuple[str, str | None]]:
    """Each client with each sign-in in which it got something of this owner's; None: in no sign-in."""
    return [(row[0], row[1]) for row in store.all(_OF_OWNER(owner=owner))]
