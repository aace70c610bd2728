"""Two servers on one database, one app, and Maya, who allows what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.program import free_port
from tests.support.user import User
from tests.support.valetkey_server import Deployment, RunningServer
from tests.support.web_app import WebApp

API_FILE = Path(__file__).parents[1] / "support" / "limited_api.py"
EMAIL, PASSWORD = "maya@example.com", "a violet tram in june"


@dataclass(frozen=True)
class Service:
    """Servers that share a database, which is also open to the test."""

    deployment: Deployment
    ports: tuple[int, int]
    strict_ports: tuple[int, int]  # the same, with ``refresh_retry_window=0``
    web_app: WebApp
    maya: User

    @property
    def database_url(self) -> str:
        return str(self.deployment.settings["database_url"])


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two servers with the default settings and two with no retry window, on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("races")
    database_url = f"sqlite:///{folder / 'valetkey.sqlite3'}"
    if request.param == "postgresql":
        database_url = request.getfixturevalue("postgresql").create_database()
    usual = Deployment(folder, app=API_FILE, settings={"database_url": database_url})
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
