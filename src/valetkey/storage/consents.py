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
    """A resource owner's remembered consent to a client's scopes. Times are seconds since 1970.

    :param scope: scope names, separated by spaces.
    :param address: IP address from which the owner consented last; ``None`` if unknown.
    """

    owner: str  # ``sub`` of the resource owner
    client_id: str
    scope: str
    first_granted_at: float
    granted_at: float
    address: str | None


@dataclass(frozen=True, slots=True)
class ConsentWithLastUse:
    """A remembered consent, and when a grant of the same owner to the same client was last used; ``None`` if never."""

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
    """Return the remembered consent of the owner to the client, or ``None`` if there is none."""
    row = store.fetch_one(_FIND(owner=owner, client_id=client_id))
    return Consent(*row) if row else None


def list_by_owner(store: Store, owner: str) -> list[ConsentWithLastUse]:
    """Return the owner's remembered consents, the latest first, each with the time of its last use."""
    return [ConsentWithLastUse(Consent(*row[:-1]), row[-1]) for row in store.fetch_all(_LIST_BY_OWNER(owner=owner))]


def remember(consent: Consent) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores a consent of an owner to a client.

    If the owner has consented to the client before, scope, ``granted_at`` and address of that consent are replaced, and
    its ``first_granted_at`` stays.
    """
    return _REMEMBER(**{column.name: getattr(consent, column.name) for column in _COLUMNS})


def remove(owner: str, client_id: str) -> BoundStatement:
    return _REMOVE(owner=owner, client_id=client_id)
