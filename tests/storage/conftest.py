"""Fixtures: a store with tables and without rows, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgreSQLServer
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store


@pytest.fixture(scope="session")
def pgbouncer(postgresql: PostgreSQLServer) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode in front of the PostgreSQL server."""
    with PgBouncer(postgresql.port) as pooler:
        yield pooler


@pytest.fixture
def pgbouncer_store_url(postgresql_store_url: str, pgbouncer: PgBouncer) -> str:
    """The URL of the database of ``postgresql_store_url``, through PgBouncer."""
    return pgbouncer.url(postgresql_store_url)


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with tables and signing keys: SQLite, PostgreSQL, PostgreSQL behind PgBouncer."""
    return str(request.getfixturevalue(f"{request.param}_store_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()
