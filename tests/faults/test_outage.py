"""If the database does not respond, requests get 503 with Retry-After, never 500; the server recovers by itself."""

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

TOKEN_REQUEST = {"grant_type": "client_credentials"}


def test_each_kind_of_endpoint_responds_503_while_the_database_is_down(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(
        tmp_path, app=LIMITED_API_FILE, settings={"database_url": disposable_postgresql.create_database()}
    )
    deployment.run("init")
    auth = _create_machine_client(deployment)
    app = WebApp.register(deployment)
    with RunningServer(deployment) as server:
        token = httpx.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth).json()["access_token"]
        call = httpx.Request("GET", f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"})
        with httpx.Client(timeout=15) as http:
            assert http.send(call).status_code == httpx.codes.OK
            disposable_postgresql.stop()
            time.sleep(1)  # for a second the change feed is fresh and needs no database
            refused = http.send(call)
            _check_unavailable(refused, "application/problem+json")
            introspection = http.post(f"{server.url}/oauth/introspect", data={"token": "unknown"}, auth=auth)
            _check_unavailable(introspection, "application/json")
            assert introspection.json()["error"] == "temporarily_unavailable"
            _check_unavailable(http.get(app.authorization_url()), "text/html; charset=utf-8")
            disposable_postgresql.start()
            deadline = time.monotonic() + 5
            while (response := http.send(call)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert response.status_code == httpx.codes.OK
            token_response = http.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth)
            assert token_response.status_code == httpx.codes.OK
        assert "Traceback" not in server.log


def test_requests_during_a_restart_of_the_database_succeed_or_get_503(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": disposable_postgresql.create_database()})
    deployment.run("init")
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")  # each token is written
    auth = _create_machine_client(deployment)
    with RunningServer(deployment) as server:
        assert _statuses(_request_tokens(server, auth, 20)) == {200}
        disposable_postgresql.stop()
        disposable_postgresql.start()
        assert _statuses(_request_tokens(server, auth, 100)) <= {200, 503}
        assert _statuses(_request_tokens(server, auth, 20)) == {200}


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


def test_requests_succeed_or_get_503_while_another_writer_locks_sqlite_for_3_seconds(tmp_path: Path) -> None:
    database = tmp_path / "valetkey.sqlite3"
    deployment = Deployment(tmp_path, settings={"database_url": f"sqlite:///{database}"})
    deployment.run("init")
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")
    auth = _create_machine_client(deployment)
    with RunningServer(deployment) as server, closing(_connect(database)) as other_writer:
        other_writer.execute("BEGIN IMMEDIATE")
        began_at = time.monotonic()
        refused = _request_tokens(server, auth, 1)
        assert 1.5 < time.monotonic() - began_at < 4  # the busy timeout is 2 s
        assert _statuses(refused) == {503} and refused[0].headers["retry-after"]
        release = threading.Timer(max(0.2, began_at + 3 - time.monotonic()), other_writer.execute, ["ROLLBACK"])
        release.start()
        responses = _request_tokens(server, auth, 40)
        release.join()
        assert time.monotonic() - began_at < 10
        assert _statuses(responses) <= {200, 503}, Counter(response.status for response in responses)
        assert _statuses(_request_tokens(server, auth, 20)) == {200}
        assert "Traceback" not in server.log


def _create_machine_client(deployment: Deployment) -> tuple[str, str]:
    """Register a client with the policy ``machine``. Return its id and secret."""
    client = deployment.create_client("machine")
    return client["client_id"], client["client_secret"]


def _request_tokens(server: RunningServer, auth: tuple[str, str], number: int) -> list[RawResponse]:
    """Send so many token requests at the same time."""
    return send_together([post_request(server.port, "/oauth/token", list(TOKEN_REQUEST.items()), auth=auth)] * number)


def _statuses(responses: list[RawResponse]) -> set[int]:
    return {response.status for response in responses}


def _check_unavailable(response: httpx.Response, content_type: str) -> None:
    """Check that a response is a 503 with Retry-After."""
    assert (response.status_code, response.headers["Content-Type"]) == (503, content_type), response.text
    assert int(response.headers["Retry-After"]) > 0


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, check_same_thread=False)
