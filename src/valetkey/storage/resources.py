"""Protected resources (APIs) besides the one of the ``resource`` setting (RFC 8707, RFC 9728)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, bindparam, delete, select

from .engine.records import to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import resources

_ALL = Statement(select(resources.c.resource, resources.c.metadata).order_by(resources.c.resource))
_REMOVE = Statement(delete(resources).where(resources.c.resource == bindparam("wanted")))


def _upsert(insert: Any) -> Executable:
    insert_row = insert(resources).values(
        resource=bindparam("resource"), metadata=bindparam("metadata"), created_at=bindparam("created_at")
    )
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[resources.c.resource], set_={"metadata": insert_row.excluded.metadata}
    )
    return statement


_UPSERT = Statement(_upsert)


def list_all(store: Store) -> dict[str, Mapping[str, Any]]:
    """Return a dictionary from each protected resource's identifier to its metadata (RFC 9728 §2)."""
    return {resource: dict(json.loads(metadata)) for resource, metadata in store.fetch_all(_ALL())}


def upsert(resource: str, metadata: Mapping[str, Any], now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds a protected resource, or replaces its metadata.

    :param resource: identifier of the resource, a URL (RFC 8707 §2).
    """
    return _UPSERT(resource=resource, metadata=to_json(metadata), created_at=now)


def remove(resource: str) -> BoundStatement:
    return _REMOVE(wanted=resource)
