"""The grants that are alive, for an operator to look through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, bindparam, or_, select

from .records import columns_of
from .statement import Statement
from .store import Store
from .tables import grants


@dataclass(frozen=True, slots=True)
class LivingGrant:
    grant_id: str
    client_id: str
    owner: str
    scope: str
    created_at: float
    last_used_at: float | None
    expires_at: float


def _either(column: Column[Any], name: str) -> ColumnElement[bool]:
    return or_(bindparam(name, type_=Text) == "", column == bindparam(name, type_=Text))


_ALIVE = Statement(
    select(*columns_of(grants, LivingGrant))
    .where(
        grants.c.revoked_at.is_(None),
        grants.c.expires_at > bindparam("now"),
        _either(grants.c.client_id, "client_id"),
        _either(grants.c.owner, "owner"),
    )
    .order_by(grants.c.created_at.desc())
    .limit(bindparam("most"))
)


def living(store: Store, now: float, *, client_id: str = "", owner: str = "", most: int = 1000) -> list[LivingGrant]:
    """Grants that are neither revoked nor over, newest first; of one client or owner where it is named."""
    rows = store.all(_ALIVE(now=now, client_id=client_id, owner=owner, most=most))
    return [LivingGrant(*row) for row in rows]
