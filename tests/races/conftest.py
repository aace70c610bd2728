"""Two servers on one database, one app, and Maya, who allows what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.races.service import Service
from tests.support.program import free_port
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer
from tests.support.web_app import WebApp


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two servers with the default settings and two with no retry window, on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("races")
    database_url = f"sqlite:///{folder / 'valetkey.sqlite3'}"
    if request.param == "postgresql":
        database_url = request.getfixturevalue("postgresql").create_database()
    usual = Deployment(folder, app=LIMITED_API_FILE, settings={"database_url": database_url})
    strict = replace(usual, settings={**usual.settings, "refresh_retry_window": 0, "issuer": usual.issuer})
    usual.run("init")
    usual.create_user(EMAIL, PASSWORD)
    web_app = WebApp.register(usual)
    with ExitStack() as stack:

        def started(deployment: Deployment, port: int) -> int:
            return stack.enter_context(RunningServer(deployment, port=port)).port

        yield Service(
            usual,
            (started(usual, usual.port), started(usual, free_port())),
            (started(strict, free_port()), started(strict, free_port())),
            web_app,
            stack.enter_context(User(EMAIL, PASSWORD)),
        )
