"""``/healthz`` and ``/readyz``: on under ``valetkey serve``, settings in an app, and a route of the app comes first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from flask import Flask, abort, current_app, g, request
from flask_restful import Api, Resource

from tests.support.app import MakeApp
from tests.support.postgres import PostgreSQLServer
from tests.support.redis_server import RedisServer
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey import require_oauth
from valetkey.storage.schema import HEAD_REVISION
from valetkey.web.wsgi import before_first_request

PATHS = {"health_path": "/healthz", "readiness_path": "/readyz"}
ALL_OK = {"startup": "ok", "store": "ok", "schema": "ok", "keys": "ok", "counters": "ok", "worker": "ok"}


def wait_for(read: Callable[[], httpx.Response], is_expected: Callable[[httpx.Response], bool]) -> httpx.Response:
    deadline = time.monotonic() + 30
    while not is_expected(response := read()):
        assert time.monotonic() < deadline, response.text
        time.sleep(0.2)
    return response


def test_under_serve_they_report_an_outage_of_the_database_and_of_redis(tmp_path: Path) -> None:
    with PostgreSQLServer(durable=True) as postgresql, RedisServer() as redis:
        settings = {"database_url": postgresql.create_database(), "redis_url": redis.url}
        deployment = Deployment(tmp_path, settings=settings)
        deployment.run("init")
        with RunningServer(deployment) as server, httpx.Client(base_url=server.url, timeout=30) as http:
            ready = wait_for(lambda: http.get("/readyz"), lambda response: response.json()["status"] == "ok")
            assert ready.json()["checks"] == ALL_OK
            assert (ready.headers["Cache-Control"], ready.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
            assert "Set-Cookie" not in ready.headers

            redis.stop()
            without_redis = wait_for(
                lambda: http.get("/readyz"), lambda response: response.json()["checks"]["counters"] == "failed"
            )
            assert (without_redis.status_code, without_redis.json()["status"]) == (200, "degraded")

            postgresql.stop()
            unavailable = wait_for(lambda: http.get("/readyz"), lambda response: response.status_code == 503)
            assert unavailable.json()["checks"]["store"] == "failed"
            assert unavailable.headers["Retry-After"] == "2"
            assert str(postgresql.port) not in unavailable.text
            assert http.get("/healthz").json() == {"status": "ok"}

            postgresql.start()
            assert wait_for(lambda: http.get("/readyz"), lambda response: response.is_success)
            assert "not ready, store:" in server.log


def test_in_an_app_they_are_off_unless_set(make_app: MakeApp, store_url: str) -> None:
    assert make_app(store_url).test_client().get("/readyz").status_code == 404

    client = make_app(store_url, **PATHS).test_client()

    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "degraded", "checks": {**ALL_OK, "worker": "none"}}
    assert client.head("/readyz").data == b""
    refused = client.post("/healthz")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_an_app_whose_startup_check_fails_is_not_ready(
    make_app: MakeApp, sqlite_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(sqlite_store_url, **PATHS)
    app.add_url_rule("/account", "their_account", lambda: "theirs")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    client = app.test_client()

    for _ in range(2):
        unavailable = client.get("/readyz")
        assert (unavailable.status_code, unavailable.json["checks"]["startup"]) == (503, "failed")
        assert client.get("/api/public").status_code == 500
    assert client.get("/healthz").status_code == 200
    assert caplog.text.count("not ready, startup: /account is served by Valetkey and by the app's endpoint") == 1


def test_a_readiness_check_before_the_first_request_makes_the_startup_check(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, **PATHS)

    assert app.test_client().get("/readyz").status_code == 200
    app.add_url_rule("/account", "their_account", lambda: "theirs")  # too late for the check

    assert app.test_client().get("/api/public").status_code == 200


@pytest.mark.parametrize("read", [lambda: current_app.name, lambda: request.path, lambda: g.user])
def test_a_readiness_check_may_come_first_if_decorators_of_methods_use_the_request(
    make_app: MakeApp, sqlite_store_url: str, read: Callable[[], object]
) -> None:
    app = make_app(sqlite_store_url, **PATHS)
    app.before_request(lambda: setattr(g, "user", "ada"))

    def decorate(method: Callable[..., object]) -> Callable[..., object]:
        read()
        return method

    class Note(Resource):  # type: ignore[misc]  # Flask-RESTful has no types
        method_decorators = (decorate, require_oauth("notes:read"))

        def get(self) -> str:
            return "note"

    Api(app).add_resource(Note, "/api/a-note")
    client = app.test_client()

    assert client.get("/readyz").status_code == 200
    assert client.get("/api/a-note").status_code == 401


def test_an_unexpected_error_in_the_startup_check_is_logged(
    make_app: MakeApp, sqlite_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(sqlite_store_url, **PATHS)
    before_first_request(app, lambda: {}["nothing"])

    unavailable = app.test_client().get("/readyz")

    assert (unavailable.status_code, unavailable.json["checks"]["startup"]) == (503, "failed")
    assert "not ready, startup: 'nothing'\n  Traceback" in caplog.text


def test_a_route_of_the_app_with_the_path_comes_first(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, **PATHS)
    app.add_url_rule("/healthz", "their_health", lambda: "theirs")

    client = app.test_client()

    assert client.get("/healthz").text == "theirs"
    assert client.get("/readyz").is_json


def test_hooks_and_catch_all_routes_of_the_app_do_not_see_them(make_app: MakeApp, sqlite_store_url: str) -> None:
    app: Flask = make_app(sqlite_store_url, **PATHS)
    app.before_request(lambda: abort(401))
    app.add_url_rule("/<path:page>", "page", lambda page: page)

    assert app.test_client().get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
    assert app.test_client().get("/readyz").status_code == 200


def test_another_schema_is_reported_and_checked_once_a_second(
    make_app: MakeApp, sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url, **PATHS)
    client = app.test_client()
    assert client.get("/readyz").json["checks"]["schema"] == "ok"
    monkeypatch.setattr("valetkey.storage.schema.HEAD_REVISION", f"{HEAD_REVISION}9")
    assert client.get("/readyz").json["checks"]["schema"] == "ok"

    time.sleep(1.1)  # the age of the result is measured with the process's monotonic clock

    unavailable = client.get("/readyz")
    assert (unavailable.status_code, unavailable.json["checks"]["schema"]) == (503, "failed")
