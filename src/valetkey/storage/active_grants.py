"""Lists of the grants that are neither revoked nor expired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Text,
    bindparam,
    or_,
    select,
)

from .engine.records import columns_of
from .engine.statement import Statement
from .engine.store import Store
from .tables import grants


@dataclass(frozen=True, slots=True)
class ActiveGrant:
    """A grant that is neither revoked nor expired. Times are seconds since 1970.

    :param owner: ``sub`` of the resource owner.
    :param last_used_at: when a token of the grant was last used; ``None`` if never.
    """

    grant_id: str
    client_id: str
    owner: str
    scope: str
    created_at: float
    last_used_at: float | None
    expires_at: float


def _equals_unless_empty(column: Column[Any], name: str) -> ColumnElement[bool]:
    return or_(bindparam(name, type_=Text) == "", column == bindparam(name, type_=Text))


_LIST_ACTIVE = Statement(
    select(*columns_of(grants, ActiveGrant))
    .where(
        grants.c.revoked_at.is_(None),
        grants.c.expires_at > bindparam("now"),
        _equals_unless_empty(grants.c.client_id, "client_id"),
        _equals_unless_empty(grants.c.owner, "owner"),
    )
    .order_by(grants.c.created_at.desc())
    .limit(bindparam("most"))
)


def list_active(
    store: Store, now: float, *, client_id: str = "", owner: str = "", limit: int = 1000
) -> list[ActiveGrant]:
    """Return up to ``limit`` grants that are neither revoked nor expired, newest first.

    :param client_id: only grants of this client; empty for all clients.
    :param owner: only grants of the resource owner with this ``sub``; empty for all owners.
    """
    rows = store.fetch_all(_LIST_ACTIVE(now=now, client_id=client_id, owner=owner, most=limit))
    return [ActiveGrant(*row) for row in rows]
