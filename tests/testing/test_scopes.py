"""A fixture that outlives a test generates no tokens for an app that has another database in the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
from flask import Flask
from valetkey import Valetkey, require_oauth

app = Flask(__name__)
Valetkey(app, scopes={"orders:read": "See your orders"}, data_dir="own")
app.add_url_rule("/api/orders", "orders", require_oauth("orders:read")(lambda: "orders"))
"""
CONFTEST = """
import pytest
import shop

pytest_plugins = ["valetkey.testing"]


@pytest.fixture
def app():
    return shop.app
"""
FIXTURE = """
import pytest
import shop
from valetkey.testing import headers_for, throw_away_store


@pytest.fixture(scope="{scope}")
def headers():
    return headers_for(shop.app, "orders:read")


def test_orders(app, headers):
    assert app.test_client().get("/api/orders", headers=headers).text == "orders"
"""
WITHOUT_APP = FIXTURE.replace("app, headers", "headers").replace("assert app", "assert shop.app")
SERVER = """
import pytest
import shop
from flask import Flask
from valetkey import Valetkey, require_oauth
from valetkey.testing import headers_for, throw_away_store


@pytest.fixture(scope="session")
def client_and_headers():
    with throw_away_store(shop.app):
        yield shop.app.test_client(), headers_for(shop.app, "orders:read")


@pytest.mark.parametrize("number", [1, 2])
def test_orders(client_and_headers, number):
    client, headers = client_and_headers
    assert client.get("/api/orders", headers=headers).text == "orders"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Flask("server")
    Valetkey(server, scopes={"orders:read": "See your orders"}, data_dir=str(tmp_path_factory.mktemp("server")))
    server.add_url_rule("/api/orders", "orders", require_oauth("orders:read")(lambda: "orders"))
    return server


@pytest.fixture(scope="module")
def server_headers(server):
    return headers_for(server, "orders:read")


@pytest.mark.parametrize("number", [1, 2])
def test_orders_of_another_app(app, headers_for, server, server_headers, number):
    headers = headers_for("orders:read")
    assert server.test_client().get("/api/orders", headers=server_headers).text == "orders"
    assert app.test_client().get("/api/orders", headers=headers).text == "orders"
"""


def run(folder: Path, test: str) -> str:
    for name, text in {"shop.py": APP, "conftest.py": CONFTEST, "test_orders.py": test}.items():
        (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return finished.stdout + finished.stderr


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_wider_fixture_with_tokens_for_the_fixture_app_fails_with_its_scope(tmp_path: Path, scope: str) -> None:
    output = run(tmp_path, FIXTURE.replace("{scope}", scope))

    assert f"the fixture headers has the scope '{scope}', but each test with the fixture app has its own data" in output
    assert "1 error" in output


def test_a_fixture_of_one_test_may_generate_tokens(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, FIXTURE.replace("{scope}", "function"))
    assert not (tmp_path / "own").exists(), "the test used the database of the app"


def test_a_wider_fixture_may_generate_tokens_if_the_app_has_the_same_database_in_the_test(tmp_path: Path) -> None:
    assert "4 passed" in run(tmp_path, SERVER)
    assert "1 passed" in run(tmp_path, WITHOUT_APP.replace("{scope}", "session"))


def test_a_wider_fixture_with_tokens_fails_no_test_that_does_not_use_it(tmp_path: Path) -> None:
    other = """

@pytest.fixture
def own_headers(app, headers_for):
    return headers_for("orders:read")


def test_more_orders(app, own_headers):
    assert app.test_client().get("/api/orders", headers=own_headers).text == "orders"
"""

    assert "2 passed" in run(tmp_path, WITHOUT_APP.replace("{scope}", "session") + other)
