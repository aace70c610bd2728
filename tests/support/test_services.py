"""The services that other tests stand on do what those tests believe."""

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
from tests.support.redis import RedisServer


def _one_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE visits AS SELECT 1 AS number")


def _rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM visits").fetchone()
    assert found is not None
    return int(found[0])


def test_a_database_made_like_another_starts_as_its_copy_and_goes_its_own_way(postgresql: PostgreSQLServer) -> None:
    first, second = postgresql.create_database(prepare=_one_row), postgresql.create_database(prepare=_one_row)
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO visits VALUES (2)")
    assert (_rows(first), _rows(second)) == (2, 1)


def test_a_durable_postgresql_keeps_what_was_committed_before_the_power_cut() -> None:
    with PostgreSQLServer(durable=True) as server:
        url = server.create_database()
        _one_row(url)
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            _rows(url)
        server.start()
        assert _rows(url) == 1


def test_redis_is_empty_again_after_an_outage() -> None:
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("limit", "1")
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("limit") is None


def test_whoever_signs_in_at_the_openid_provider_is_known_to_the_flask_app_that_asked(
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
    the_app = {"http://127.0.0.1:9": httpx.WSGITransport(app)}

    with httpx.Client(mounts=the_app) as browser:
        answer = provider.sign_in(browser, "http://127.0.0.1:9/login", login="maya")

    assert answer.json()["email"] == "maya@example.com"
    assert answer.json()["iss"] == provider.issuer


def test_the_browser_reaches_nothing_but_this_machine(page: Page) -> None:
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://elsewhere.example/")


def test_a_program_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="no such setting"):
        Program(
            [sys.executable, "-c", "raise SystemExit('no such setting')"],
            log=tmp_path / "log",
            is_ready=lambda: False,
        )


def test_what_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(NotInstalled, match="apt-get install valet"):
        find_program(["no-such-program"], package="valet")
