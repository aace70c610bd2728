"""Fixtures of real services. Those of the scope ``session`` start once, when the first test uses them."""

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
from tests.support.redis_server import RedisServer
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
    """One PostgreSQL server for all tests. It loses data in a crash; a test that stops its server starts its own."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test alone."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of this test alone. The test runs twice: on SQLite and on PostgreSQL."""
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
    """The URL of the Redis server, whose keys have been deleted."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    with launch_chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page in a browser without cookies."""
    with browser.new_context() as context:
        yield context.new_page()


class StartProvider(Protocol):
    """The type of the fixture ``start_openid_provider``."""

    def __call__(self, *redirect_uris: str) -> OpenIDProvider: ...


@pytest.fixture
def start_openid_provider() -> Iterator[StartProvider]:
    """Return a function that starts an OpenID Provider whose only client has these redirect URIs.

    The provider is stopped at the end of the test.
    """
    with ExitStack() as providers:
        yield lambda *redirect_uris: providers.enter_context(OpenIDProvider(redirect_uris))


class StartServer(Protocol):
    """The type of the fixture ``start_server``."""

    def __call__(self, *, app: str | Path | None = None, workers: int = 1, **settings: Any) -> RunningServer: ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that runs ``valetkey init`` and then starts a server, both with these settings.

    The data directory is ``tmp_path``. Without ``database_url`` the database is a SQLite file in it.
    The server is stopped at the end of the test.
    """
    with ExitStack() as servers:

        def start(*, app: str | Path | None = None, workers: int = 1, **settings: Any) -> RunningServer:
            deployment = Deployment(tmp_path, app=app, settings=settings)
            deployment.run("init")
            return servers.enter_context(RunningServer(deployment, workers=workers))

        yield start
