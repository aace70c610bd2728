"""A repeated POST is answered, not done again: on both stores, over processes, and when one dies midway."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import count as counter
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, current_app, jsonify, request
from flask.views import MethodView

from tests.conftest import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import Browser, Clock, count_rows
from valetkey import current_token, protect, require_oauth
from valetkey.api_helpers import idempotent
from valetkey.authorization_server.clients.service import register_client
from valetkey.outbound.worker import prune
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.tables import metadata

TABLE = "valetkey_idempotency_keys"
HOUR = 3600.0


class Shop:
    """An API that takes orders and counts them."""

    def __init__(self, app: Flask) -> None:
        self.done = 0
        self.numbers = counter(1)
        self.hold: threading.Event | None = None
        self.begun = threading.Event()
        route = {"methods": ["GET", "POST", "PATCH"]}
        app.add_url_rule("/api/orders", "orders", require_oauth(idempotent(self.order)), **route)  # type: ignore[arg-type]
        app.add_url_rule("/api/strict", "strict", require_oauth(idempotent(required=True)(self.order)), **route)  # type: ignore[arg-type]
        app.add_url_rule("/api/small", "small", require_oauth(idempotent(largest=100)(self.order)), methods=["POST"])

    def order(self) -> Any:
        self.done += 1
        self.begun.set()
        if self.hold is not None:
            assert self.hold.wait(10)
        if status := request.args.get("abort", type=int):
            abort(status)
        if size := request.args.get("size", type=int):
            return "x" * size
        if request.args.get("breaks"):
            raise RuntimeError("stuck")
        body = {"order": next(self.numbers), "user": current_token.user_id, "sent": request.get_data().decode()}
        response = jsonify(body)
        response.status_code = 201
        response.headers.extend([("Location", "/api/orders/1"), ("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "a=b")])
        return response


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    app = make_app(store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture
def shop_api(app: Flask) -> Shop:
    return Shop(app)


class Caller:
    def __init__(self, app: Flask) -> None:
        self.http = app.test_client()
        made = register_client(app.extensions["valetkey"], name="Robot", policy="machine")
        self.machine = Browser(self.http, made)
        self.renew()

    def renew(self) -> None:
        self.token = self.machine.request_token("client_credentials", scope="profile").json["access_token"]

    def order(self, key: str | None = "k1", path: str = "/api/orders", data: str = "a", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.http.open(path, method=more.pop("method", "POST"), data=data, headers=headers, **more)


@pytest.fixture
def robot(app: Flask, shop_api: Shop) -> Caller:
    return Caller(app)


def test_the_same_request_again_gets_the_same_bytes_and_is_not_done_again(robot: Caller, shop_api: Shop) -> None:
    first, again = robot.order(), robot.order()

    assert shop_api.done == 1
    assert (first.status_code, first.data) == (again.status_code, again.data) == (201, again.data)
    for name in ("Content-Type", "Location"):
        assert first.headers[name] == again.headers[name]
    assert again.headers.getlist("X-A") == ["1", "2"]
    assert "Set-Cookie" in first.headers and "Set-Cookie" not in again.headers
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")


def test_a_key_in_quotes_is_the_same_key(robot: Caller, shop_api: Shop) -> None:
    assert robot.order("k1").data == robot.order('"k1"').data
    assert shop_api.done == 1


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "x" * 256, '"\u00e9"', '"a";b'])
def test_a_malformed_key_is_refused(robot: Caller, shop_api: Shop, key: str) -> None:
    refused = robot.order(key)

    assert (refused.status_code, refused.mimetype, shop_api.done) == (400, "application/problem+json", 0)


def test_another_request_under_the_same_key_is_422(robot: Caller, shop_api: Shop) -> None:
    robot.order(data="a")

    for other in ({"data": "b"}, {"query_string": "c=1"}, {"content_type": "application/json"}):
        refused = robot.order(**{"data": "a", **other})
        assert (refused.status_code, refused.mimetype) == (422, "application/problem+json"), other
    assert shop_api.done == 1


def test_another_path_or_method_is_another_key(robot: Caller, shop_api: Shop) -> None:
    robot.order()
    robot.order(path="/api/strict")
    robot.order(method="PATCH")

    assert shop_api.done == 3


def test_another_app_or_user_never_sees_the_answer(robot: Caller, shop_api: Shop, app: Flask, ada: Browser) -> None:
    other, person = Caller(app), Caller(app)
    person.token = ada.obtain_tokens()["access_token"]

    answers = [one.order().json for one in (robot, other, person)]

    assert shop_api.done == 3 and [answer["user"] for answer in answers] == [None, None, "ada"]


def test_another_token_of_the_same_app_and_user_gets_the_answer(
    robot: Caller, shop_api: Shop, app: Flask, ada: Browser
) -> None:
    person = Caller(app)
    person.token = ada.obtain_tokens()["access_token"]
    first = person.order()
    person.token = ada.obtain_tokens()["access_token"]

    assert person.order().data == first.data and shop_api.done == 1


def test_without_a_key_each_is_done_unless_one_is_required(robot: Caller, shop_api: Shop) -> None:
    robot.order(None)
    robot.order(None)
    refused = robot.order(None, "/api/strict")

    assert (shop_api.done, refused.status_code) == (2, 400)
    assert "Idempotency-Key" in refused.json["detail"]


def test_a_get_needs_no_key_and_keeps_nothing(robot: Caller, shop_api: Shop, runtime: Runtime) -> None:
    for _ in range(2):
        assert robot.order(None, "/api/strict", method="GET").status_code == 201
        robot.order("k", method="GET")

    assert shop_api.done == 4 and count_rows(runtime.store, TABLE) == 0


@pytest.mark.parametrize("how", ["abort=500", "abort=503", "breaks=1", "abort=429"])
def test_a_failure_of_the_moment_is_not_kept(robot: Caller, shop_api: Shop, runtime: Runtime, how: str) -> None:
    failed = robot.order(query_string=how)
    assert failed.status_code >= 429 and count_rows(runtime.store, TABLE) == 0

    robot.order(query_string=how)

    assert shop_api.done == 2


def test_a_refusal_is_kept_like_any_answer(robot: Caller, shop_api: Shop) -> None:
    first, again = (robot.order(query_string="abort=404") for _ in range(2))

    assert shop_api.done == 1
    assert first.status_code == again.status_code == 404 and first.data == again.data
    assert again.mimetype == "application/problem+json"


def test_an_error_that_the_app_handles_is_kept_too(app: Flask, shop_api: Shop) -> None:
    app.register_error_handler(RuntimeError, lambda error: ("too bad", 400))
    robot = Caller(app)

    answers = [robot.order(query_string="breaks=1") for _ in range(2)]

    assert [(one.status_code, one.text) for one in answers] == [(400, "too bad")] * 2 and shop_api.done == 1


def test_the_answer_is_kept_for_24_hours_and_then_pruned(
    robot: Caller, shop_api: Shop, clock: Clock, runtime: Runtime
) -> None:
    first = robot.order()
    clock.forward(24 * HOUR - 1)
    prune(runtime.store, clock())
    assert count_rows(runtime.store, TABLE) == 1
    robot.renew()
    assert robot.order().data == first.data

    clock.forward(2)
    prune(runtime.store, clock())

    assert count_rows(runtime.store, TABLE) == 0


def test_after_24_hours_the_key_is_new_again(robot: Caller, shop_api: Shop, clock: Clock) -> None:
    robot.order()
    clock.forward(24 * HOUR + 1)
    robot.renew()

    assert robot.order(data="something else").status_code == 201 and shop_api.done == 2


def test_the_answers_stand_in_the_store_encrypted(robot: Caller, runtime: Runtime) -> None:
    from sqlalchemy import select

    from valetkey.storage.engine.statement import Statement

    robot.order(data="a secret recipe")

    [row] = runtime.store.fetch_all(Statement(select(metadata.tables[TABLE]))())
    assert b"secret recipe" not in b"".join(bytes(value) for value in row if isinstance(value, bytes | memoryview))


def test_bodies_over_the_bound_are_refused_and_answers_over_it_are_not_done_again(
    robot: Caller, shop_api: Shop
) -> None:
    assert robot.order(path="/api/small", data="x" * 101).status_code == 413
    large = robot.order(path="/api/small", query_string="size=101")
    again = robot.order(path="/api/small", query_string="size=101")

    assert (large.status_code, again.status_code, shop_api.done) == (200, 409, 1)
    assert "done already" in again.json["detail"]


def test_while_the_first_is_at_work_the_second_is_409(robot: Caller, shop_api: Shop) -> None:
    shop_api.hold = threading.Event()
    answers: list[Any] = []
    other = robot.http.application.test_client()
    headers = {"Authorization": f"Bearer {robot.token}", "Idempotency-Key": "k1"}
    first = threading.Thread(target=lambda: answers.append(other.post("/api/orders", data="a", headers=headers)))
    first.start()
    assert shop_api.begun.wait(10)

    refused = robot.order()
    shop_api.hold.set()
    first.join()

    assert (refused.status_code, refused.headers["Retry-After"]) == (409, "1")
    assert robot.order().data == answers[0].data and shop_api.done == 1


def test_a_slow_first_one_does_not_overwrite_who_took_its_place(robot: Caller, shop_api: Shop, clock: Clock) -> None:
    shop_api.hold = threading.Event()
    other = robot.http.application.test_client()
    headers = {"Authorization": f"Bearer {robot.token}", "Idempotency-Key": "k1"}
    slow = threading.Thread(target=lambda: other.post("/api/orders", data="a", headers=headers))
    slow.start()
    assert shop_api.begun.wait(10)
    clock.forward(61)
    held, shop_api.hold = shop_api.hold, None
    second = robot.order()
    held.set()
    slow.join()

    assert robot.order().data == second.data and shop_api.done == 2


KILLED = """
import os, sys
from flask import Flask
from valetkey import Valetkey, require_oauth
from valetkey.api_helpers import idempotent

url, key, now, token, folder = sys.argv[1:]
app = Flask("killed")
Valetkey(app, database_url=url, encryption_keys=(key,), data_dir=folder, embedded_worker=False,
         scopes={"profile": "See"}, clock=lambda: float(now))
app.extensions["valetkey"].clock = lambda: float(now)
app.add_url_rule("/api/orders", "orders", require_oauth(idempotent(lambda: os._exit(9))), methods=["POST"])
headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k1"}
app.test_client().post("/api/orders", data="a", headers=headers)
"""


def test_a_process_that_is_killed_midway_frees_the_key_after_a_minute(
    robot: Caller, shop_api: Shop, store_url: str, clock: Clock, tmp_path: Any
) -> None:
    words = [sys.executable, "-c", KILLED, store_url, ENCRYPTION_KEY, str(clock()), robot.token, str(tmp_path)]
    killed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr

    clock.forward(59)
    assert robot.order().status_code == 409
    clock.forward(2)

    assert robot.order().status_code == 201 and shop_api.done == 1


def test_a_store_that_is_down_is_a_503_and_nothing_is_done(
    robot: Caller, shop_api: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    robot.order("warm")
    monkeypatch.setattr(runtime.store, "write", down)

    refused = robot.order()

    assert (refused.status_code, refused.headers["Retry-After"], shop_api.done) == (503, "2", 1)


def test_work_that_was_done_is_told_although_the_answer_cannot_be_kept(
    robot: Caller, shop_api: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> Any:
        def down(*_: Any) -> Any:
            raise StoreUnavailable("gone")

        monkeypatch.setattr(runtime.store, "write", down)
        return "done"

    robot.http.application.view_functions["orders"] = require_oauth(idempotent(breaks))

    assert robot.order().text == "done"
    assert "the answer is not kept" in caplog.text


def test_around_require_oauth_it_refuses_to_work(robot: Caller, shop_api: Shop, app: Flask) -> None:
    app.view_functions["orders"] = idempotent(require_oauth(shop_api.order))

    assert [robot.order().status_code for _ in range(2)] == [500, 500]


def test_without_a_valetkey_it_says_what_is_missing() -> None:
    app = Flask("bare")
    app.testing = True
    app.add_url_rule("/", "view", idempotent(lambda: "x"), methods=["POST"])

    with pytest.raises(RuntimeError, match="add Valetkey"):
        app.test_client().post("/", headers={"Idempotency-Key": "k"})


def test_it_works_in_a_class_of_views_and_in_a_protected_blueprint(app: Flask) -> None:
    class Orders(MethodView):
        decorators = [idempotent]  # noqa: RUF012

        def post(self) -> Any:
            return jsonify(number=next(numbers), app=current_app.name)

    numbers = counter(1)
    api = protect(Blueprint("orders_api", __name__), "profile")
    api.add_url_rule("/api/class", view_func=Orders.as_view("class"))
    app.register_blueprint(api)
    robot = Caller(app)

    assert robot.order(path="/api/class").data == robot.order(path="/api/class").data
    assert next(numbers) == 2
