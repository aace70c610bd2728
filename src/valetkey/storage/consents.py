"""Remembered consents of resource owners to clients, which also make up the list of connected apps."""

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
    """A remembered consent. Times are seconds since 1970; ``address`` is the IP address of the latest consent."""

    owner: str  # ``sub`` of the resource owner
    client_id: str
    scope: str
    first_granted_at: float
    granted_at: float
    address: str | None


@dataclass(frozen=True, slots=True)
class ConsentWithLastUse:
    """A consent, and when any grant of the same owner and client was last used; ``None`` if never."""

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
    insert_row = insert(consents).values({column.name: bindparam(column.name) for column in _COLUMNS})
    replaced = {name: insert_row.excluded[name] for name in ("scope", "granted_at", "address")}
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[consents.c.owner, consents.c.client_id], set_=replaced
    )
    return statement


_REMEMBER = Statement(_remember)


def find(store: Store, owner: str, client_id: str) -> Consent | None:
    """Return the remembered consent, or ``None`` if there is none."""
    row = store.fetch_one(_FIND(owner=owner, client_id=client_id))
    return Consent(*row) if row else None


def list_by_owner(store: Store, owner: str) -> list[ConsentWithLastUse]:
    """Return the owner's consents, the latest first."""
    return [ConsentWithLastUse(Consent(*row[:-1]), row[-1]) for row in store.fetch_all(_LIST_BY_OWNER(owner=owner))]


def remember(consent: Consent) -> BoundStatement:
    """Return the statement that adds a consent, or replaces scope, ``granted_at`` and address of the earlier one.

    ``first_granted_at`` of the earlier one stays.
    """
    return _REMEMBER(**{column.name: getattr(consent, column.name) for column in _COLUMNS})


def remove(owner: str, client_id: str) -> BoundStatement:
    return _REMOVE(owner=owner, client_id=client_id)
