"""A deployment that is initialised, with one app and Maya."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgreSQLServer
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment


@pytest.fixture
def deployment(tmp_path: Path, database_url: str) -> Deployment:
    """A service with tables, keys and Maya's account, on SQLite and on PostgreSQL; nothing runs yet."""
    made = Deployment(tmp_path, settings={"database_url": database_url})
    made.run("init")
    made.create_user(EMAIL, PASSWORD)
    return made


@pytest.fixture
def maya() -> Iterator[User]:
    """Maya, who allows what is asked."""
    with User(EMAIL, PASSWORD) as person:
        yield person


@pytest.fixture
def disposable_postgresql() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server of this test's own, to be stopped and started."""
    with PostgreSQLServer() as server:
        yield server
