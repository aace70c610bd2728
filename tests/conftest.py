"""Fixtures for all tests: an app on SQLite or PostgreSQL, a clock, clients and a signed-in user.

The fixtures of real services (PostgreSQL, Redis, Chromium, a Valetkey server) are in ``tests/support/fixtures.py``.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, settings

from tests.support.app import ENCRYPTION_KEY, MakeApp, Register, add_api_routes, prepare_database
from tests.support.browser_client import CALLBACK, EMAIL, SCOPES, Browser, find_secrets, sign_in_new_account
from tests.support.clock import Clock
from tests.support.postgres import PostgreSQLServer
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.caches.recently_issued import RecentlyIssued
from valetkey.runtime import Runtime
from valetkey.storage.tables import metadata

pytest_plugins = ["tests.support.fixtures"]

# On a busy machine, examples are generated slowly, which is no defect of the code.
settings.register_profile("valetkey", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("valetkey")

for variable in [name for name in os.environ if name.startswith(("VALETKEY_", "_VALETKEY_"))]:
    del os.environ[variable]  # the developer's shell must not decide a test
os.environ["PATH"] = os.pathsep.join(  # nor may it matter whether this virtual environment is activated in it
    folder for folder in os.environ["PATH"].split(os.pathsep) if folder != str(Path(sys.prefix) / "bin")
)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the run fail if a test was skipped on CI's version of Python: all that tests need is installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and sys.version_info[:2] == (3, 11):
        reporter.write_line("tests were skipped: on Python 3.11 none may be, install what they need", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def same_environment_for_each_test() -> Iterator[None]:
    """Put back after each test what decides an app's settings, whatever the test, a command or an import has changed.

    Flask's command and ours set environment variables, for example ``FLASK_RUN_FROM_CLI``, which the programs of later
    tests would get, and fallbacks of settings. ``valetkey.testing`` makes the whole process ignore the environment.
    """
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:  # undone after the test's own, which may put back what a command set
        patch.setattr("valetkey.settings.sources._fallbacks", {})
        patch.setattr("valetkey.settings.environment._is_ignored", False)
        yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@pytest.fixture(autouse=True)
def same_loggers_afterwards() -> Iterator[None]:
    """Enable the loggers again that a test disabled: ``logging.config.dictConfig`` disables all existing ones."""
    yield
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until the test moves it. Every app of the test uses it."""
    return Clock()


@pytest.fixture(scope="session")
def prepared_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with tables and signing keys, for tests to copy. Do not write to it."""
    path = tmp_path_factory.mktemp("prepared") / "valetkey.db"
    prepare_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_store_url(prepared_sqlite_file: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database with tables and signing keys, of this test alone."""
    return f"sqlite:///{shutil.copy(prepared_sqlite_file, tmp_path / 'valetkey.db')}"


@pytest.fixture(scope="session")
def prepared_postgresql_url(postgresql: PostgreSQLServer) -> str:
    """The URL of a PostgreSQL database with tables and signing keys, which all tests share."""
    url = postgresql.create_database()
    prepare_database(url)
    return url


@pytest.fixture
def postgresql_store_url(prepared_postgresql_url: str) -> str:
    """The URL of a PostgreSQL database with tables and signing keys and no other rows.

    The shared database is emptied for each test: to create a new one takes ten times as long.
    """
    statements = [f"DELETE FROM {name}" for name in metadata.tables if name != "valetkey_signing_keys"]
    with psycopg.connect(prepared_postgresql_url) as connection:
        connection.execute("; ".join(statements))
    return prepared_postgresql_url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with tables and signing keys. The test runs twice: on SQLite and on PostgreSQL."""
    return str(request.getfixturevalue(f"{request.param}_store_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def unshared_store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database as that of ``store_url``, but of this test alone, with signing keys of its own."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_store_url"))
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    url = server.create_database()
    prepare_database(url)
    return url


@pytest.fixture
def make_app(clock: Clock, tmp_path: Path) -> Iterator[MakeApp]:
    """Return a function that creates a Flask app with Valetkey and an API of two routes.

    It takes the database's URL and settings of Valetkey. The app is closed at the end of the test.
    """
    runtimes: list[Runtime] = []

    def make(database_url: str, **settings: Any) -> Flask:
        app = Flask("api")
        options = {
            "scopes": SCOPES,
            "issuer": "http://127.0.0.1:8000",
            "data_dir": str(tmp_path),
            "encryption_keys": (ENCRYPTION_KEY,),
            "embedded_worker": False,
            **settings,
        }
        Valetkey(app, database_url=database_url, clock=clock, **options)
        runtime: Runtime = app.extensions["valetkey"]
        runtime.clock = clock  # type: ignore[assignment]  # PostgreSQL's own clock would correct it
        runtimes.append(runtime)
        add_api_routes(app)
        return app

    yield make
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    """An app with the default settings, on SQLite and on PostgreSQL."""
    return make_app(store_url)


@pytest.fixture
def runtime(app: Flask) -> Runtime:
    """The runtime of ``app``."""
    return app.extensions["valetkey"]


@pytest.fixture
def register(runtime: Runtime) -> Register:
    """Return a function that registers a client of ``app`` with a policy and with client metadata."""

    def register_with_defaults(policy: str = "web", **metadata: Any) -> CreatedClient:
        if policy != "machine":
            metadata.setdefault("redirect_uris", [CALLBACK])
        return register_client(runtime, runtime.clock(), name=metadata.pop("name", "Shop"), policy=policy, **metadata)

    return register_with_defaults


@pytest.fixture
def shop(register: Register) -> CreatedClient:
    """A client named Shop with the policy ``web``."""
    return register()


@pytest.fixture
def ada(app: Flask, runtime: Runtime, shop: CreatedClient) -> Browser:
    """The browser of Ada, who is signed in and uses the client ``shop``."""
    return sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")


@pytest.fixture(params=["same process", "other process"])
def issuing_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in the process that issued a code or refresh token, which has it in its cache, and in another."""
    if request.param == "other process":
        monkeypatch.setattr(RecentlyIssued, "pop", lambda *_: None)


@pytest.fixture
def clean_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log. At the end of the test it must contain no secret and no traceback."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    logged = caplog.text
    assert find_secrets(logged) == []
    assert "Traceback" not in logged
