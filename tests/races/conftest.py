"""Fixtures: servers that share a database, a registered client and a user."""

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
    """Two servers with the default settings and two without a retry window, on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("races")
    database_url = f"sqlite:///{folder / 'valetkey.sqlite3'}"
    if request.param == "postgresql":
        database_url = request.getfixturevalue("postgresql").create_database()
    deployment = Deployment(folder, app=LIMITED_API_FILE, settings={"database_url": database_url})
    strict_settings = {**deployment.settings, "refresh_retry_window": 0, "issuer": deployment.issuer}
    strict_deployment = replace(deployment, settings=strict_settings)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    web_app = WebApp.register(deployment)
    with ExitStack() as stack:

        def start_server(deployment: Deployment, port: int) -> int:
            return stack.enter_context(RunningServer(deployment, port=port)).port

        yield Service(
            deployment,
            (start_server(deployment, deployment.port), start_server(deployment, free_port())),
            (start_server(strict_deployment, free_port()), start_server(strict_deployment, free_port())),
            web_app,
            stack.enter_context(User(EMAIL, PASSWORD)),
        )
