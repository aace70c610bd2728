"""Fixtures: a deployment with a user, the user, and a PostgreSQL server to stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgreSQLServer
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment


@pytest.fixture
def deployment(tmp_path: Path, database_url: str) -> Deployment:
    """A deployment with tables, signing keys and Maya's account, on SQLite and on PostgreSQL. No server runs yet."""
    deployment = Deployment(tmp_path, settings={"database_url": database_url})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    return deployment


@pytest.fixture
def maya() -> Iterator[User]:
    """Maya, the resource owner."""
    with User(EMAIL, PASSWORD) as user:
        yield user


@pytest.fixture
def disposable_postgresql() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server of this test alone, which may stop, suspend and kill it."""
    with PostgreSQLServer() as server:
        yield server
