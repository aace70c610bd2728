"""What an owner allowed an app, remembered for the next time; and the list of connected apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, delete, func, select

from .engine.records import columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import consents, grants


@dataclass(frozen=True, slots=True)
class Consent:
    owner: str
    client_id: str
    scope: str
    first_granted_at: float
    granted_at: float
    address: str | None


@dataclass(frozen=True, slots=True)
class ConsentWithLastUse:
    consent: Consent
    last_used_at: float | None


_COLUMNS = columns_of(consents, Consent)
_FIND = Statement(
    select(*_COLUMNS).where(consents.c.owner == bindparam("owner"), consents.c.client_id == bindparam("client_id"))
)
_LIST_BY_OWNER = Statement(
    select(*_COLUMNS, func.max(grants.c.last_used_at))
    .join_from(
        consents,
        grants,
        (grants.c.owner == consents.c.owner) & (grants.c.client_id == consents.c.client_id),
        isouter=True,
    )
    .where(consents.c.owner == bindparam("owner"))
    .group_by(*_COLUMNS)
    .order_by(consents.c.granted_at.desc())
)
_REMOVE = Statement(
    delete(consents).where(consents.c.owner == bindparam("owner"), consents.c.client_id == bindparam("client_id"))
)


def _remember(insert: Any) -> Executable:
    made = insert(consents).values({column.name: bindparam(column.name) for column in _COLUMNS})
    replaced = {name: made.excluded[name] for name in ("scope", "granted_at", "address")}
    statement: Executable = made.on_conflict_do_update(
        index_elements=[consents.c.owner, consents.c.client_id], set_=replaced
    )
    return statement


_REMEMBER = Statement(_remember)


def find(store: Store, owner: str, client_id: str) -> Consent | None:
    row = store.fetch_one(_FIND(owner=owner, client_id=client_id))
    return Consent(*row) if row else None


def list_by_owner(store: Store, owner: str) -> list[ConsentWithLastUse]:
    """The apps that this owner allowed, the latest first."""
    return [ConsentWithLastUse(Consent(*row[:-1]), row[-1]) for row in store.fetch_all(_LIST_BY_OWNER(owner=owner))]


def remember(consent: Consent) -> BoundStatement:
    """Insert, or replace scope, time and address of an earlier one."""
    return _REMEMBER(**{column.name: getattr(consent, column.name) for column in _COLUMNS})


def remove(owner: str, client_id: str) -> BoundStatement:
    return _REMOVE(owner=owner, client_id=client_id)
