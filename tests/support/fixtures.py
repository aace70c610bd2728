"""The services as fixtures: each starts at most once for all tests, and only if a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page

from tests.support.chromium import launch_chromium
from tests.support.openid_provider import OpenIDProvider
from tests.support.postgres import PostgreSQLServer
from tests.support.redis import RedisServer
from tests.support.valetkey_server import Deployment, RunningServer

__all__ = [
    "browser",
    "database_url",
    "page",
    "postgresql",
    "postgresql_url",
    "redis_server",
    "redis_url",
    "start_openid_provider",
    "start_server",
]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """One PostgreSQL server for all tests; it forgets on a crash. Outages need a server of their own."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of this test's own: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'valetkey.sqlite3'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis server for all tests."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the Redis server, empty."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with launch_chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of somebody who has never been here."""
    with browser.new_context() as context:
        yield context.new_page()


class StartProvider(Protocol):
    def __call__(self, *redirect_uris: str) -> OpenIDProvider: ...


@pytest.fixture
def start_openid_provider() -> Iterator[StartProvider]:
    """Start an OpenID Provider whose one client has these redirect URIs; it ends with the test."""
    with ExitStack() as running:
        yield lambda *redirect_uris: running.enter_context(OpenIDProvider(redirect_uris))


class StartServer(Protocol):
    def __call__(self, *, app: str | Path | None = None, workers: int = 1, **settings: Any) -> RunningServer: ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start a server with these settings, its database made by ``valetkey init``; it ends with the test.

    The data directory is ``tmp_path``; without ``database_url`` the database is a SQLite file in it.
    """
    with ExitStack() as running:

        def start(*, app: str | Path | None = None, workers: int = 1, **settings: Any) -> RunningServer:
            deployment = Deployment(tmp_path, app=app, settings=settings)
            deployment.run("init")
            return running.enter_context(RunningServer(deployment, workers=workers))

        yield start
