"""A store that does not answer: 503 with Retry-After, never 500, and recovery without anybody's help."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
from flask import Flask

from tests.support.concurrent_requests import RawResponse, post_request, send_together
from tests.support.postgres import PostgreSQLServer
from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer
from tests.support.web_app import WebApp
from valetkey import Valetkey

CREDENTIALS = {"grant_type": "client_credentials"}


def test_every_kind_of_answer_is_503_while_the_database_is_down(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(
        tmp_path, app=LIMITED_API_FILE, settings={"database_url": disposable_postgresql.create_database()}
    )
    deployment.run("init")
    auth = _machine(deployment)
    app = WebApp.register(deployment)
    with RunningServer(deployment) as server:
        token = httpx.post(f"{server.url}/oauth/token", data=CREDENTIALS, auth=auth).json()["access_token"]
        call = httpx.Request("GET", f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"})
        with httpx.Client(timeout=15) as http:
            assert http.send(call).status_code == httpx.codes.OK
            disposable_postgresql.stop()
            time.sleep(1)  # a revocation feed is fresh so long, and needs no store
            refused = http.send(call)
            _check_unavailable(refused, "application/problem+json")
            introspection = http.post(f"{server.url}/oauth/introspect", data={"token": "unknown"}, auth=auth)
            _check_unavailable(introspection, "application/json")
            assert introspection.json()["error"] == "temporarily_unavailable"
            _check_unavailable(http.get(app.authorization_url()), "text/html; charset=utf-8")
            disposable_postgresql.start()
            deadline = time.monotonic() + 5
            while (answer := http.send(call)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert answer.status_code == httpx.codes.OK
            again = http.post(f"{server.url}/oauth/token", data=CREDENTIALS, auth=auth)
            assert again.status_code == httpx.codes.OK
        assert "Traceback" not in server.log


def test_requests_that_meet_a_restart_of_the_database_succeed_or_get_503(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": disposable_postgresql.create_database()})
    deployment.run("init")
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")  # a write for each
    auth = _machine(deployment)
    with RunningServer(deployment) as server:
        assert _statuses(_crowd(server, auth, 20)) == {200}
        disposable_postgresql.stop()
        disposable_postgresql.start()
        assert _statuses(_crowd(server, auth, 100)) <= {200, 503}
        assert _statuses(_crowd(server, auth, 20)) == {200}


def test_an_embedded_app_that_starts_before_its_database_recovers(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    settings = {"database_url": disposable_postgresql.create_database()}
    Deployment(tmp_path, settings=settings).run("init")
    disposable_postgresql.stop()
    app = Flask(__name__)
    Valetkey(app, data_dir=str(tmp_path), embedded_worker=False, **settings)
    client = app.test_client()
    refused = client.get("/oauth/jwks")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    disposable_postgresql.start()
    assert client.get("/oauth/jwks").status_code == httpx.codes.OK
    app.extensions["valetkey"].close()


def test_a_writer_that_holds_a_sqlite_store_for_3_seconds(tmp_path: Path) -> None:
    database = tmp_path / "valetkey.sqlite3"
    deployment = Deployment(tmp_path, settings={"database_url": f"sqlite:///{database}"})
    deployment.run("init")
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")
    auth = _machine(deployment)
    with RunningServer(deployment) as server, closing(_connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        refused = _crowd(server, auth, 1)
        assert 1.5 < time.monotonic() - began < 4  # it waits 2 s
        assert _statuses(refused) == {503} and refused[0].headers["retry-after"]
        release = threading.Timer(max(0.2, began + 3 - time.monotonic()), other.execute, ["ROLLBACK"])
        release.start()
        answers = _crowd(server, auth, 40)
        release.join()
        assert time.monotonic() - began < 10
        assert _statuses(answers) <= {200, 503}, Counter(answer.status for answer in answers)
        assert _statuses(_crowd(server, auth, 20)) == {200}
        assert "Traceback" not in server.log


def _machine(deployment: Deployment) -> tuple[str, str]:
    made = deployment.create_client("machine")
    return made["client_id"], made["client_secret"]


def _crowd(server: RunningServer, auth: tuple[str, str], number: int) -> list[RawResponse]:
    """So many token requests at once."""
    return send_together([post_request(server.port, "/oauth/token", list(CREDENTIALS.items()), auth=auth)] * number)


def _statuses(answers: list[RawResponse]) -> set[int]:
    return {answer.status for answer in answers}


def _check_unavailable(answer: httpx.Response, content_type: str) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, content_type), answer.text
    assert int(answer.headers["Retry-After"]) > 0


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, check_same_thread=False)
