"""Assertions about the rows of the store: counts, "nothing changed", and a dump of every cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from valetkey.runtime import Runtime
from valetkey.storage import tables
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.store import Store

# The tables that a refused request must not change. The audit log, sessions and limit counters may record it.
PROTOCOL_TABLES = (
    tables.clients,
    tables.client_secrets,
    tables.registrations,
    tables.initial_access_tokens,
    tables.assertions,
    tables.accounts,
    tables.interactions,
    tables.consents,
    tables.grants,
    tables.codes,
    tables.device_codes,
    tables.refresh_tokens,
    tables.retry_answers,
    tables.access_tokens,
    tables.revocations,
    tables.personal_access_tokens,
)
_COUNT_STATEMENTS = {
    table.name: Statement(select(func.count()).select_from(table)) for table in tables.metadata.sorted_tables
}


def count_rows(store: Store, table: str) -> int:
    """Return the number of rows of a table."""
    row = store.fetch_one(_COUNT_STATEMENTS[table]())
    assert row is not None
    return int(row[0])


def count_protocol_rows(store: Store) -> dict[str, int]:
    """Return the number of rows of each of the ``PROTOCOL_TABLES``, by table name."""
    return {table.name: count_rows(store, table.name) for table in PROTOCOL_TABLES}


@contextmanager
def assert_store_unchanged(runtime: Runtime) -> Iterator[None]:
    """Fail unless each of the ``PROTOCOL_TABLES`` has as many rows after the block as before it."""
    counts_before = count_protocol_rows(runtime.store)
    yield
    assert count_protocol_rows(runtime.store) == counts_before


def dump_store(runtime: Runtime) -> bytes:
    """Return every cell of every table as bytes, one cell per line."""
    rows = [
        row for table in tables.metadata.sorted_tables for row in runtime.store.fetch_all(Statement(select(table))())
    ]
    return b"\n".join(
        bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for row in rows for cell in row
    )
