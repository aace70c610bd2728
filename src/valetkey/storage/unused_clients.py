"""Clients that registered themselves and then were never used by anybody."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, delete, exists, not_, select

from .statement import Bound, Statement
from .store import Store
from .tables import clients, consents, device_codes, grants, registrations

# One that acts for itself leaves no trace of its tokens: it may be in use.
_UNUSED = and_(
    clients.c.created_at < bindparam("before"),
    exists().where(registrations.c.client_id == clients.c.client_id, registrations.c.policy.is_(None)),
    not_(clients.c.metadata.contains("client_credentials", autoescape=True)),
    *(not_(exists().where(table.c.client_id == clients.c.client_id)) for table in (grants, consents, device_codes)),
)
_FIND = Statement(select(clients.c.client_id).where(_UNUSED).limit(500))
_REMOVE = Statement(delete(clients).where(clients.c.client_id == bindparam("wanted"), _UNUSED))


def find(store: Store, before: float) -> list[str]:
    """Some of those that registered without anybody's word before a moment, and that no person ever gave anything."""
    return [str(row[0]) for row in store.all(_FIND(before=before))]


def remove(client_id: str, before: float) -> Bound:
    """The claim on a removal: lost where somebody has begun to use the client meanwhile."""
    return _REMOVE(wanted=client_id, before=before)
