"""The services of ``tests/support/`` behave as the tests that use them expect."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from authlib.integrations.flask_client import OAuth
from flask import Flask
from playwright.sync_api import Page

from tests.support.fixtures import StartProvider
from tests.support.postgres import PostgreSQLServer
from tests.support.program import NotInstalled, Program, StartFailed, find_program
from tests.support.redis_server import RedisServer


def _create_one_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE visits AS SELECT 1 AS number")


def _count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM visits").fetchone()
    assert row is not None
    return int(row[0])


def test_databases_with_the_same_preparation_are_independent_copies(postgresql: PostgreSQLServer) -> None:
    first, second = (postgresql.create_database(prepare=_create_one_row) for _ in range(2))
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO visits VALUES (2)")
    assert (_count_rows(first), _count_rows(second)) == (2, 1)


def test_a_durable_postgresql_server_has_its_committed_data_after_a_kill() -> None:
    with PostgreSQLServer(durable=True) as server:
        url = server.create_database()
        _create_one_row(url)
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            _count_rows(url)
        server.start()
        assert _count_rows(url) == 1


def test_a_redis_server_is_empty_after_a_restart() -> None:
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("limit", "1")
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("limit") is None


def test_a_flask_app_gets_the_claims_of_the_user_who_signed_in_at_the_openid_provider(
    start_openid_provider: StartProvider,
) -> None:
    provider = start_openid_provider("http://127.0.0.1:9/authorize")
    app = Flask("client")
    app.secret_key = "of the test"
    google = OAuth(app).register(
        "google",
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        server_metadata_url=f"{provider.issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email profile"},
    )
    app.add_url_rule("/login", view_func=lambda: google.authorize_redirect("http://127.0.0.1:9/authorize"))
    app.add_url_rule("/authorize", "authorize", lambda: google.authorize_access_token()["userinfo"])
    app_transport = {"http://127.0.0.1:9": httpx.WSGITransport(app)}

    with httpx.Client(mounts=app_transport) as browser:
        response = provider.sign_in(browser, "http://127.0.0.1:9/login", login="maya")

    assert response.json()["email"] == "maya@example.com"
    assert response.json()["iss"] == provider.issuer


def test_the_browser_can_connect_only_to_this_machine(page: Page) -> None:
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://elsewhere.example/")


def test_a_program_that_ends_at_its_start_raises_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="no such setting"):
        Program(
            [sys.executable, "-c", "raise SystemExit('no such setting')"],
            log=tmp_path / "log",
            is_ready=lambda: False,
        )


def test_a_missing_program_raises_an_error_that_names_its_package() -> None:
    with pytest.raises(NotInstalled, match="apt-get install valet"):
        find_program(["no-such-program"], package="valet")
