"""Fixture for each counter backend in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgreSQLServer
from valetkey.rate_limiting.backends.counters import Counters, MemoryCounters
from valetkey.rate_limiting.backends.grouped_counters import GroupedCounters
from valetkey.rate_limiting.backends.mapped_counters import MappedCounters
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.backends.sql_counters import SqlCounters, SqliteCounters
from valetkey.storage.engine.open import open_store
from valetkey.storage.limits import LIMITS, ROUTE_LIMITS
from valetkey.storage.schema import upgrade_schema


@pytest.fixture(scope="module", params=["memory", "mapped", "sqlite", "postgresql", "postgresql routes", "redis"])
def counters(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counters]:
    created = _create_counters(request, tmp_path_factory.mktemp("limits"))
    yield created
    created.close()


def _create_counters(request: pytest.FixtureRequest, folder: Path) -> Counters:
    if request.param == "memory":
        return MemoryCounters()
    if request.param == "sqlite":
        return SqliteCounters(folder / "limits.db")
    if request.param == "mapped":
        return MappedCounters(folder / "limits", SqliteCounters(folder / "limits.db"))
    if request.param == "redis":
        return GroupedCounters(RedisCounters(request.getfixturevalue("redis_server").url, "https://api.example"))
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    url = server.create_database()
    upgrade_schema(url)
    if request.param == "postgresql routes":
        return GroupedCounters(SqlCounters(open_store(url), ROUTE_LIMITS))
    return SqlCounters(open_store(url), LIMITS)
