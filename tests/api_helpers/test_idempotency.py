"""Idempotency keys: a repeated POST gets the stored response; with both databases, and after a killed process."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import count as counter
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request, send_file
from flask.views import MethodView
from werkzeug.exceptions import BadRequestKeyError, NotFound

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from tests.support.store_assertions import count_rows
from valetkey import current_token, protect, public, require_oauth
from valetkey.api_helpers import deprecated, idempotent, max_body
from valetkey.authorization_server.clients.service import register_client
from valetkey.outbound.pruning import prune
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.tables import metadata

TABLE = "valetkey_idempotency_keys"
HOUR = 3600.0


class Shop:
    """An API that accepts orders and counts them."""

    def __init__(self, app: Flask) -> None:
        self.order_count = 0
        self.numbers = counter(1)
        self.finish: threading.Event | None = None  # if set, an order waits for it
        self.started = threading.Event()
        methods = ["GET", "POST", "PATCH"]
        strict = idempotent(required=True)(self.order)
        app.add_url_rule("/api/orders", "orders", require_oauth(idempotent(self.order)), methods=methods)
        app.add_url_rule("/api/strict", "strict", require_oauth(strict), methods=methods)
        app.add_url_rule("/api/small", "small", require_oauth(idempotent(largest=100)(self.order)), methods=["POST"])

    def order(self) -> Any:
        self.order_count += 1
        self.started.set()
        if self.finish is not None:
            assert self.finish.wait(10)
        if status := request.args.get("abort", type=int):
            abort(status)
        if size := request.args.get("size", type=int):
            return "x" * size
        if request.args.get("raise"):
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
    """A client that calls the shop with its own token, or with a user's if ``token`` is replaced."""

    def __init__(self, app: Flask) -> None:
        self.http = app.test_client()
        client = register_client(
            app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"
        )
        self.machine = Browser(self.http, client)
        self.renew_token()

    def renew_token(self) -> None:
        self.token = self.machine.request_token("client_credentials", scope="profile").json["access_token"]

    def order(self, key: str | None = "k1", path: str = "/api/orders", data: str | None = "a", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.http.open(path, method=more.pop("method", "POST"), data=data, headers=headers, **more)


@pytest.fixture
def robot(app: Flask, shop_api: Shop) -> Caller:
    return Caller(app)


def test_a_repeated_request_gets_the_same_response_and_is_executed_once(robot: Caller, shop_api: Shop) -> None:
    first, second = robot.order(), robot.order()

    assert shop_api.order_count == 1
    assert (first.status_code, first.data) == (second.status_code, second.data) == (201, second.data)
    for name in ("Content-Type", "Location"):
        assert first.headers[name] == second.headers[name]
    assert second.headers.getlist("X-A") == ["1", "2"]
    assert "Set-Cookie" in first.headers and "Set-Cookie" not in second.headers
    assert (first.headers.get("Idempotent-Replayed"), second.headers["Idempotent-Replayed"]) == (None, "true")


def test_a_key_in_quotes_equals_the_key_without_quotes(robot: Caller, shop_api: Shop) -> None:
    assert robot.order("k1").data == robot.order('"k1"').data
    assert shop_api.order_count == 1


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "x" * 256, '"\u00e9"', '"a";b'])
def test_a_malformed_key_is_refused(robot: Caller, shop_api: Shop, key: str) -> None:
    refused = robot.order(key)

    assert (refused.status_code, refused.mimetype, shop_api.order_count) == (400, "application/problem+json", 0)


def test_a_different_request_with_the_same_key_is_422(robot: Caller, shop_api: Shop) -> None:
    robot.order(data="a")

    for other in ({"data": "b"}, {"query_string": "c=1"}, {"content_type": "application/json"}):
        refused = robot.order(**{"data": "a", **other})
        assert (refused.status_code, refused.mimetype) == (422, "application/problem+json"), other
    assert shop_api.order_count == 1


def test_a_key_belongs_to_one_path_and_method(robot: Caller, shop_api: Shop) -> None:
    robot.order()
    robot.order(path="/api/strict")
    robot.order(method="PATCH")

    assert shop_api.order_count == 3


def test_a_key_belongs_to_one_client_and_user(robot: Caller, shop_api: Shop, app: Flask, ada: Browser) -> None:
    other, user = Caller(app), Caller(app)
    user.token = ada.obtain_tokens()["access_token"]

    orders = [caller.order().json for caller in (robot, other, user)]

    assert shop_api.order_count == 3 and [order["user"] for order in orders] == [None, None, "ada"]


def test_another_token_of_the_same_client_and_user_gets_the_stored_response(
    robot: Caller, shop_api: Shop, app: Flask, ada: Browser
) -> None:
    user = Caller(app)
    user.token = ada.obtain_tokens()["access_token"]
    first = user.order()
    user.token = ada.obtain_tokens()["access_token"]

    assert user.order().data == first.data and shop_api.order_count == 1


def test_requests_without_a_key_are_executed_unless_a_key_is_required(robot: Caller, shop_api: Shop) -> None:
    robot.order(None)
    robot.order(None)
    refused = robot.order(None, "/api/strict")

    assert (shop_api.order_count, refused.status_code) == (2, 400)
    assert "Idempotency-Key" in refused.json["detail"]


def test_get_requests_need_no_key_and_are_not_stored(robot: Caller, shop_api: Shop, runtime: Runtime) -> None:
    for _ in range(2):
        assert robot.order(None, "/api/strict", method="GET").status_code == 201
        robot.order("k", method="GET")

    assert shop_api.order_count == 4 and count_rows(runtime.store, TABLE) == 0


@pytest.mark.parametrize("query", ["abort=500", "abort=503", "raise=1", "abort=429"])
def test_temporary_errors_are_not_stored(robot: Caller, shop_api: Shop, runtime: Runtime, query: str) -> None:
    failed = robot.order(query_string=query)
    assert failed.status_code >= 429 and count_rows(runtime.store, TABLE) == 0

    robot.order(query_string=query)

    assert shop_api.order_count == 2


class Stream:
    """A view that returns a generator of 20 chunks of 10 bytes, which fails after some chunks."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.fails_after = fails_after
        self.chunk_count = 0
        self.close_count = 0

    def __call__(self) -> Any:
        return Response(self.generate(), mimetype="text/csv")

    def generate(self) -> Iterator[str]:
        try:
            for number in range(20):
                if number == self.fails_after:
                    raise RuntimeError("the generator failed")
                self.chunk_count += 1
                yield "x" * 10
        finally:
            self.close_count += 1


@pytest.mark.parametrize("decorate", [require_oauth, public], ids=["with a token", "public"])
def test_an_error_in_a_streamed_response_releases_the_key(robot: Caller, runtime: Runtime, decorate: Any) -> None:
    stream = Stream(fails_after=3)
    robot.http.application.view_functions["orders"] = decorate(idempotent(stream))

    assert [robot.order().status_code for _ in range(2)] == [500, 500]
    assert (stream.chunk_count, stream.close_count) == (6, 2)
    assert count_rows(runtime.store, TABLE) == 0


def test_a_streamed_response_is_stored(robot: Caller) -> None:
    stream = Stream()
    robot.http.application.view_functions["orders"] = require_oauth(idempotent(stream))

    first, second = robot.order(), robot.order()

    assert first.text == second.text == "x" * 200 and second.headers["Idempotent-Replayed"] == "true"
    assert (stream.chunk_count, stream.close_count) == (20, 1)


def test_a_streamed_response_that_is_too_large_is_passed_on_after_the_limit(robot: Caller) -> None:
    stream = Stream(fails_after=15)
    robot.http.application.view_functions["small"] = require_oauth(idempotent(largest=100)(stream))

    first = robot.order(path="/api/small", buffered=False)
    assert (first.status_code, stream.chunk_count, stream.close_count) == (200, 11, 0)
    chunks = iter(first.iter_encoded())
    assert b"".join(next(chunks) for _ in range(15)) == b"x" * 150
    with pytest.raises(RuntimeError, match="the generator failed"):
        next(chunks)
    first.close()

    assert stream.close_count == 1
    assert robot.order(path="/api/small").status_code == 409


def test_a_file_is_sent_and_stored(robot: Caller, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 101)
    send = partial(send_file, tmp_path / "file", mimetype="text/plain")
    for path, largest in (("orders", 101), ("small", 100)):
        robot.http.application.view_functions[path] = require_oauth(idempotent(largest=largest)(lambda: send()))

    for path, repeated_status in (("/api/orders", 200), ("/api/small", 409)):
        first, second = (robot.order(path=path, buffered=True) for _ in range(2))
        assert first.data == b"x" * 101 and second.status_code == repeated_status


def test_other_error_responses_are_stored(robot: Caller, shop_api: Shop) -> None:
    first, second = (robot.order(query_string="abort=404") for _ in range(2))

    assert shop_api.order_count == 1
    assert first.status_code == second.status_code == 404 and first.data == second.data
    assert second.mimetype == "application/problem+json"


def test_responses_of_the_apps_error_handlers_are_stored(app: Flask, shop_api: Shop) -> None:
    app.register_error_handler(RuntimeError, lambda error: ("too bad", 400))
    robot = Caller(app)

    responses = [robot.order(query_string="raise=1") for _ in range(2)]

    assert [(response.status_code, response.text) for response in responses] == [(400, "too bad")] * 2
    assert shop_api.order_count == 1


def test_a_decorator_around_idempotent_sees_the_exceptions_of_the_view(app: Flask, shop_api: Shop) -> None:
    """The response to the exception is stored all the same, with the headers of other helpers."""
    seen: list[Exception] = []

    def in_transaction() -> Any:
        try:
            return idempotent(deprecated(since="2023-01-01")(shop_api.order))()
        except Exception as error:
            seen.append(error)
            raise

    app.register_error_handler(RuntimeError, lambda error: ("too bad", 400))
    app.view_functions["orders"] = require_oauth(in_transaction)
    robot = Caller(app)

    responses = [robot.order(query_string="raise=1") for _ in range(2)]

    assert [str(error) for error in seen] == ["stuck"]
    assert shop_api.order_count == 1
    assert [(response.text, response.headers["Deprecation"]) for response in responses] == [
        ("too bad", "@1672531200"),
        ("too bad", "@1672531200"),
    ]


def run_again(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a view to run again after an exception, as after a serialization failure in a database."""

    @functools.wraps(view)
    def run() -> Any:
        try:
            return view()
        except ConnectionError:
            return view()

    return run


@pytest.mark.parametrize("failures", [1, 2])
def test_a_view_that_is_run_again_in_the_same_request_keeps_its_key(
    app: Flask, shop_api: Shop, runtime: Runtime, failures: int
) -> None:
    def order() -> Any:
        shop_api.order_count += 1
        if shop_api.order_count <= failures:
            raise ConnectionError
        return jsonify(order=shop_api.order_count)

    app.view_functions["orders"] = require_oauth(run_again(idempotent(order)))
    app.register_error_handler(ConnectionError, lambda error: ("lost", 422))
    robot = Caller(app)

    first, repeated = [robot.order() for _ in range(2)]

    assert (first.status_code, shop_api.order_count) == ((200, 2) if failures == 1 else (422, 2))
    assert (repeated.data, repeated.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert count_rows(runtime.store, TABLE) == 1


def test_an_idempotent_view_may_call_another_one(app: Flask, shop_api: Shop) -> None:
    view = idempotent(lambda: jsonify(outer=idempotent(shop_api.order)().json))
    app.view_functions["orders"] = require_oauth(view)
    robot = Caller(app)

    first, repeated = [robot.order() for _ in range(2)]

    assert first.json["outer"]["order"] == 1
    assert (repeated.data, shop_api.order_count) == (first.data, 1)


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        (RuntimeError("stuck"), "TESTING"),
        (SystemExit(), "TESTING"),
        (NotFound(), "TRAP_HTTP_EXCEPTIONS"),
        (BadRequestKeyError("amount"), "TRAP_BAD_REQUEST_ERRORS"),
        (BadRequestKeyError("amount"), "DEBUG"),
    ],
)
def test_an_exception_that_gets_no_response_releases_the_key(
    app: Flask, shop_api: Shop, runtime: Runtime, error: BaseException, setting: str
) -> None:
    app.config.update({"PROPAGATE_EXCEPTIONS": True, setting: True})

    def fail() -> Any:
        raise error

    app.view_functions["orders"] = require_oauth(idempotent(fail))
    robot = Caller(app)

    with pytest.raises(type(error)):
        robot.order()

    assert count_rows(runtime.store, TABLE) == 0


def test_a_stored_response_is_deleted_after_24_hours(
    robot: Caller, shop_api: Shop, clock: Clock, runtime: Runtime
) -> None:
    first = robot.order()
    clock.forward(24 * HOUR - 1)
    prune(runtime.store, clock())
    assert count_rows(runtime.store, TABLE) == 1
    robot.renew_token()
    assert robot.order().data == first.data

    clock.forward(2)
    prune(runtime.store, clock())

    assert count_rows(runtime.store, TABLE) == 0


def test_a_key_can_be_used_for_another_request_after_24_hours(robot: Caller, shop_api: Shop, clock: Clock) -> None:
    robot.order()
    clock.forward(24 * HOUR + 1)
    robot.renew_token()

    assert robot.order(data="something else").status_code == 201 and shop_api.order_count == 2


def test_stored_responses_are_encrypted(robot: Caller, runtime: Runtime) -> None:
    from sqlalchemy import select

    from valetkey.storage.engine.statement import Statement

    robot.order(data="a secret recipe")

    [row] = runtime.store.fetch_all(Statement(select(metadata.tables[TABLE]))())
    assert b"secret recipe" not in b"".join(bytes(value) for value in row if isinstance(value, bytes | memoryview))


def test_a_large_request_is_413_and_a_repetition_after_a_large_response_is_409(robot: Caller, shop_api: Shop) -> None:
    assert robot.order(path="/api/small", data="x" * 101).status_code == 413
    large = robot.order(path="/api/small", query_string="size=101")
    repeated = robot.order(path="/api/small", query_string="size=101")

    assert (large.status_code, repeated.status_code, shop_api.order_count) == (200, 409, 1)
    assert "already processed" in repeated.json["detail"]


def test_an_idempotency_key_raises_no_limit_of_the_app(robot: Caller, shop_api: Shop, app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 200

    for key in (None, "k1", "k2"):
        assert robot.order(key, data="x" * 201).status_code == 413
        assert robot.order(key, data="x" * 200).status_code == 201
    assert robot.order("k3", "/api/small", data="x" * 101).status_code == 413
    app.view_functions["small"] = require_oauth(idempotent(max_body(300)(shop_api.order)))
    for number, key in enumerate((None, "k4", "k5")):  # max_body may raise it, above and below idempotent
        if number == 2:
            app.view_functions["small"] = require_oauth(max_body(300)(idempotent(shop_api.order)))
        assert robot.order(key, "/api/small", data="x" * 301).status_code == 413
        assert robot.order(key, "/api/small", data="x" * 300).status_code == 201
    for size, status in ((200, 201), (201, 413)):  # without Content-Length: it must not be truncated either
        sent = {"input_stream": BytesIO(b"x" * size), "headers": {"Transfer-Encoding": "chunked"}}
        environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None}
        assert robot.order(f"k{size}", data=None, environ_overrides=environ, **sent).status_code == status


def test_a_repetition_is_409_while_the_first_request_is_being_processed(robot: Caller, shop_api: Shop) -> None:
    shop_api.finish = threading.Event()
    responses: list[Any] = []
    other = robot.http.application.test_client()
    headers = {"Authorization": f"Bearer {robot.token}", "Idempotency-Key": "k1"}
    first = threading.Thread(target=lambda: responses.append(other.post("/api/orders", data="a", headers=headers)))
    first.start()
    assert shop_api.started.wait(10)

    refused = robot.order()
    shop_api.finish.set()
    first.join()

    assert (refused.status_code, refused.headers["Retry-After"]) == (409, "1")
    assert robot.order().data == responses[0].data and shop_api.order_count == 1


def test_a_request_that_outlives_its_reservation_does_not_overwrite_the_next_response(
    robot: Caller, shop_api: Shop, clock: Clock
) -> None:
    shop_api.finish = threading.Event()
    other = robot.http.application.test_client()
    headers = {"Authorization": f"Bearer {robot.token}", "Idempotency-Key": "k1"}
    slow = threading.Thread(target=lambda: other.post("/api/orders", data="a", headers=headers))
    slow.start()
    assert shop_api.started.wait(10)
    clock.forward(61)
    finish, shop_api.finish = shop_api.finish, None
    second = robot.order()
    finish.set()
    slow.join()

    assert robot.order().data == second.data and shop_api.order_count == 2


KILLED_PROGRAM = """
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


def test_the_key_of_a_killed_process_can_be_used_after_a_minute(
    robot: Caller, shop_api: Shop, store_url: str, clock: Clock, tmp_path: Any
) -> None:
    arguments = [store_url, ENCRYPTION_KEY, str(clock()), robot.token, str(tmp_path)]
    command = [sys.executable, "-c", KILLED_PROGRAM, *arguments]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr

    clock.forward(59)
    assert robot.order().status_code == 409
    clock.forward(2)

    assert robot.order().status_code == 201 and shop_api.order_count == 1


def test_an_unavailable_database_is_503_and_the_view_does_not_run(
    robot: Caller, shop_api: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    robot.order("warm")
    monkeypatch.setattr(runtime.store, "write", down)

    refused = robot.order()

    assert (refused.status_code, refused.headers["Retry-After"], shop_api.order_count) == (503, "2", 1)


def test_the_response_is_sent_and_an_error_logged_if_it_cannot_be_stored(
    robot: Caller, shop_api: Shop, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def view() -> Any:
        def down(*_: Any) -> Any:
            raise StoreUnavailable("gone")

        monkeypatch.setattr(runtime.store, "write", down)
        return "done"

    robot.http.application.view_functions["orders"] = require_oauth(idempotent(view))

    assert robot.order().text == "done"
    assert "the response was not stored" in caplog.text


def test_idempotent_above_require_oauth_is_an_error(robot: Caller, shop_api: Shop, app: Flask) -> None:
    app.view_functions["orders"] = idempotent(require_oauth(shop_api.order))

    assert [robot.order().status_code for _ in range(2)] == [500, 500]


def test_without_valetkey_the_error_says_to_add_it() -> None:
    app = Flask("bare")
    app.testing = True
    app.add_url_rule("/", "view", idempotent(lambda: "x"), methods=["POST"])

    with pytest.raises(RuntimeError, match="add Valetkey"):
        app.test_client().post("/", headers={"Idempotency-Key": "k"})


def test_idempotent_works_in_class_based_views_and_protected_blueprints(app: Flask) -> None:
    class Orders(MethodView):
        decorators = [idempotent]  # noqa: RUF012  # Flask documents a list

        def post(self) -> Any:
            return jsonify(number=next(numbers), app=current_app.name)

    numbers = counter(1)
    api = protect(Blueprint("orders_api", __name__), "profile")
    api.add_url_rule("/api/class", view_func=Orders.as_view("class"))
    app.register_blueprint(api)
    robot = Caller(app)

    assert robot.order(path="/api/class").data == robot.order(path="/api/class").data
    assert next(numbers) == 2


@pytest.mark.parametrize("decorate", [public, require_oauth(optional=True)], ids=["public", "optional"])
def test_without_a_token_nobody_gets_the_response_to_another_request(app: Flask, decorate: Any) -> None:
    """Both callers have the same address, key and body."""
    count = counter(1)
    app.add_url_rule("/api/contact", "contact", decorate(idempotent(lambda: {"secret": next(count)})), methods=["POST"])
    app.extensions["valetkey"].get_ready()
    headers = {"Idempotency-Key": "1"}

    first = app.test_client().post("/api/contact", json={}, headers=headers)
    second = app.test_client().post("/api/contact", json={}, headers=headers)
    third = app.test_client().post("/api/contact", json={}, headers={"Idempotency-Key": "2"})

    assert (first.status_code, first.json) == (200, {"secret": 1})
    assert (second.status_code, second.mimetype) == (409, "application/problem+json")
    assert "secret" not in second.json and "new random key" in second.json["detail"]
    assert third.json == {"secret": 2}


def test_a_caller_without_a_token_does_not_get_the_response_to_a_caller_with_one(app: Flask) -> None:
    app.add_url_rule(
        "/api/both", "both", require_oauth(optional=True)(idempotent(lambda: {"secret": 1})), methods=["POST"]
    )

    robot = Caller(app)
    first = robot.order(path="/api/both")
    anonymous = robot.http.post("/api/both", data="a", headers={"Idempotency-Key": "k1"})
    again = robot.order(path="/api/both")

    assert "Idempotent-Replayed" not in anonymous.headers
    assert (first.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")


def upload(app: Flask, boundary: str, content: bytes, url: str = "/api/uploads", text: str = "a") -> Any:
    parts = (
        f'Content-Disposition: form-data; name="text"\r\n\r\n{text}',
        f'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n{content.decode()}',
    )
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    headers = {"Idempotency-Key": "one", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    return app.test_client().post(url, data=body.encode(), headers=headers | UPLOAD_HEADERS)


UPLOAD_HEADERS: dict[str, str] = {}


@pytest.fixture(params=[False, True], ids=["the view parses the form", "a hook has parsed the form"])
def is_parsed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def uploads(app: Flask, is_parsed: bool) -> Iterator[Flask]:
    """An API for uploads, with the token of a client."""
    if is_parsed:
        app.before_request(parse_form)
    app.add_url_rule("/api/uploads", "uploads", require_oauth(idempotent(store_upload)), methods=["POST"])
    robot = Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="R", policy="machine"),
    )
    UPLOAD_HEADERS["Authorization"] = f"Bearer {robot.request_token('client_credentials').json['access_token']}"
    yield app
    UPLOAD_HEADERS.clear()


def parse_form() -> None:
    assert request.files is not None  # reading the attribute parses the form


def store_upload() -> Any:
    return request.form["text"] + request.files["file"].read().decode()


def test_an_upload_with_another_boundary_is_the_same_request(uploads: Flask) -> None:
    first, second = (upload(uploads, boundary, b"content") for boundary in ("one", "two"))

    assert (first.text, second.text) == ("acontent", "acontent")
    assert "Idempotent-Replayed" not in first.headers and second.headers["Idempotent-Replayed"] == "true"


def test_an_upload_of_another_file_or_field_is_a_different_request(uploads: Flask) -> None:
    upload(uploads, "one", b"content")

    assert upload(uploads, "one", b"another").status_code == 422
    assert upload(uploads, "one", b"content", text="b").status_code == 422


def test_a_key_belongs_to_one_host(uploads: Flask) -> None:
    upload(uploads, "one", b"content")

    other = upload(uploads, "one", b"content", "http://other.example/api/uploads")

    assert other.status_code == 200 and "Idempotent-Replayed" not in other.headers
