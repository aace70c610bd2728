"""What every test may ask for: the real services, an app on either store, a clock, a browser."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from tests.support.app import ENCRYPTION_KEY, MakeApp, Register, add_api_routes, prepare_database
from tests.support.browser_client import CALLBACK, EMAIL, SCOPES, Browser, find_secrets, sign_in_new_account
from tests.support.clock import Clock
from tests.support.postgres import PostgreSQLServer
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.runtime import Runtime
from valetkey.storage.tables import metadata

pytest_plugins = ["tests.support.fixtures"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def prepared_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "valetkey.db"
    prepare_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_store_url(prepared_sqlite_file: Path, tmp_path: Path) -> str:
    """The URL of a SQLite store with tables and keys."""
    return f"sqlite:///{shutil.copy(prepared_sqlite_file, tmp_path / 'valetkey.db')}"


@pytest.fixture(scope="session")
def prepared_postgresql_url(postgresql: PostgreSQLServer) -> str:
    url = postgresql.create_database()
    prepare_database(url)
    return url


@pytest.fixture
def postgresql_store_url(prepared_postgresql_url: str) -> str:
    """The URL of a PostgreSQL store with tables and keys; emptied, for a new database costs ten times as much."""
    kept = {"valetkey_signing_keys"}
    emptied = [f"DELETE FROM {name}" for name in metadata.tables if name not in kept]
    with psycopg.connect(prepared_postgresql_url) as connection:
        connection.execute("; ".join(emptied))
    return prepared_postgresql_url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store with tables and keys: the test runs on SQLite and on PostgreSQL."""
    return str(request.getfixturevalue(f"{request.param}_store_url"))


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def make_app(clock: Clock, tmp_path: Path, compiled_templates: FileSystemBytecodeCache) -> Iterator[MakeApp]:
    """Make an app with an API of two routes; ``database_url`` says on which store. It is closed with the test."""
    made: list[Runtime] = []

    def make(database_url: str, **settings: Any) -> Flask:
        app = Flask("api")
        app.jinja_options = {"bytecode_cache": compiled_templates}
        given = {
            "scopes": SCOPES,
            "data_dir": str(tmp_path),
            "encryption_keys": (ENCRYPTION_KEY,),
            "embedded_worker": False,
            **settings,
        }
        Valetkey(app, database_url=database_url, clock=clock, **given)
        runtime: Runtime = app.extensions["valetkey"]
        runtime.clock = clock  # type: ignore[assignment]  # PostgreSQL's own clock would correct it
        made.append(runtime)
        add_api_routes(app)
        return app

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url)


@pytest.fixture
def runtime(app: Flask) -> Runtime:
    return app.extensions["valetkey"]


@pytest.fixture
def register(runtime: Runtime) -> Register:
    """Register a client under a policy."""

    def make(policy: str = "web", **metadata: Any) -> CreatedClient:
        if policy != "machine":
            metadata.setdefault("redirect_uris", [CALLBACK])
        return register_client(runtime, name=metadata.pop("name", "Shop"), policy=policy, **metadata)

    return make


@pytest.fixture
def shop(register: Register) -> CreatedClient:
    """A web application."""
    return register()


@pytest.fixture
def ada(app: Flask, runtime: Runtime, shop: CreatedClient) -> Browser:
    """Ada, signed in, with the shop before her."""
    return sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")


@pytest.fixture
def clean_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Whatever the test does, no secret and no traceback reaches the log."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    logged = caplog.text
    assert find_secrets(logged) == []
    assert "Traceback" not in logged
