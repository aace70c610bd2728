"""What every test may ask for: the real services, an app on either store, a clock, a browser."""

from __future__ import annotations

import base64
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask, jsonify
from jinja2 import FileSystemBytecodeCache

from tests.support.browser_client import CALLBACK, EMAIL, SCOPES, Browser, Clock, find_secrets
from tests.support.postgres import PostgreSQLServer
from valetkey import Valetkey, current_token, public, require_oauth
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.secret import BROWSER, SESSION, generate_secret
from valetkey.runtime import Runtime, prepare_store
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.tables import metadata

pytest_plugins = ["tests.support.fixtures"]

ENCRYPTION_KEY = base64.b64encode(b"k" * 32).decode()

MakeApp = Callable[..., Flask]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def prepare_database(url: str) -> None:
    """Make the tables and the keys in an empty database."""
    app = Flask("prepared")
    Valetkey(app, database_url=url, encryption_keys=(ENCRYPTION_KEY,), scopes=SCOPES, clock=Clock())
    runtime: Runtime = app.extensions["valetkey"]
    runtime.clock = Clock()  # type: ignore[assignment]
    runtime.on_store_created.clear()  # no client of the command line: what a test does not make is not there
    prepare_store(runtime)
    runtime.close()


@pytest.fixture(scope="session")
def prepared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "valetkey.db"
    prepare_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_store_url(prepared_file: Path, tmp_path: Path) -> str:
    """The URL of a SQLite store with tables and keys."""
    return f"sqlite:///{shutil.copy(prepared_file, tmp_path / 'valetkey.db')}"


@pytest.fixture(scope="session")
def prepared_database(postgresql: PostgreSQLServer) -> str:
    url = postgresql.create_database()
    prepare_database(url)
    return url


@pytest.fixture
def postgresql_store_url(prepared_database: str) -> str:
    """The URL of a PostgreSQL store with tables and keys; emptied, for a new database costs ten times as much."""
    kept = {"valetkey_signing_keys"}
    emptied = [f"DELETE FROM {name}" for name in metadata.tables if name not in kept]
    with psycopg.connect(prepared_database) as connection:
        connection.execute("; ".join(emptied))
    return prepared_database


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


def add_api_routes(app: Flask) -> None:
    """The routes of ``examples/quickstart``."""

    @app.get("/api/public")
    @public(limit="60/minute")
    def public_api() -> Any:
        return jsonify(message="Welcome")

    @app.get("/api/protected")
    @require_oauth("profile")
    def protected_api() -> Any:
        return jsonify(user=current_token.user_id, client=current_token.client_id)


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url)


@pytest.fixture
def runtime(app: Flask) -> Runtime:
    return app.extensions["valetkey"]


Register = Callable[..., CreatedClient]


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


def sign_in_new_account(browser: Browser, runtime: Runtime, email: str, name: str) -> Browser:
    """Give a browser the cookies of a new account's sign-in (the pages that do it are in ``resource_owner/``)."""
    now, sub = runtime.clock(), name.lower()
    cookies = {"valetkey_browser": generate_secret(BROWSER), "valetkey_session": generate_secret(SESSION)}
    digests = [cookie.digest() for cookie in cookies.values()]
    session = accounts.Session(digests[1], sub, digests[0], now, now + 86400, None)
    added = accounts.add(sub, email, name, None, now)
    assert runtime.store.write(Transaction(added, (accounts.add_session(session),)))
    for cookie, secret in cookies.items():
        browser.http.set_cookie(cookie, secret.reveal())
    return browser


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Whatever the test does, no secret and no traceback reaches the log."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    logged = caplog.text
    assert find_secrets(logged) == []
    assert "Traceback" not in logged
