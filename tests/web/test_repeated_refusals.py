"""A caller that goes on calling after 429 is refused before Flask, with the response that Flask would send."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, jsonify, request
from flask_login import LoginManager
from flask_wtf import CSRFProtect
from werkzeug.exceptions import TooManyRequests
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import UnicodeConverter
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from tests.support.flask_customizations import CUSTOMIZATIONS
from valetkey import CallRefused, Plan, RateLimit, Valetkey, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.plans.service import subscribe
from valetkey.resource_server.guard.repeated_refusals import RepeatedRefusalMiddleware
from valetkey.storage.active_grants import list_active
from valetkey.testing import mint_token
from valetkey.web.middleware import Middleware

Call = Callable[..., TestResponse]


def respond() -> Response:
    return jsonify(ok=True)


def caller(app: Flask, **claims: Any) -> Call:
    """Return a function that calls the route ``/api/limited`` with one access token."""
    headers = {"Authorization": f"Bearer {mint_token(app, **claims)}"}

    def call(method: str = "GET", path: str = "/api/limited", **options: Any) -> TestResponse:
        return app.test_client().open(path, method=method, headers=headers | options.pop("headers", {}), **options)

    return call


def use_up(call: Call) -> None:
    """Call until the limit refuses the caller, which Flask still does."""
    assert call().status_code == 200
    assert call().status_code == 429


@pytest.fixture
def limited_app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    add_limited(app)
    return app


def add_limited(app: Flask, limit: Any = "1/minute burst 1", **options: Any) -> None:
    app.add_url_rule("/api/limited", "limited", require_oauth(limit=limit)(respond), methods=["GET", "POST"], **options)


def comparable(response: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what must be equal in two responses to requests with the same ``Request-Id``."""
    return response.status_code, sorted(response.headers), response.data


@pytest.mark.parametrize("style", ["ietf", "legacy", "both", "off"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("limit", ["1/hour", RateLimit("1/minute burst 1", group="search")], ids=["plain", "group"])
def test_the_response_is_the_same_as_through_flask(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str], clock: Clock, style: str, method: str, limit: Any
) -> None:
    responses = []
    for bypass in (True, False):
        app = make_app(sqlite_store_url, rate_limit_fields=style, endpoints_bypass_flask=bypass)
        add_limited(app, limit)
        call = caller(app, client_id=f"caller-{bypass}")
        call(method)
        call(method)
        in_flask.clear()
        responses.append(call(method, headers={"Request-Id": "mine", "Origin": "https://app.example"}))
        assert bool(in_flask) is not bypass

    assert comparable(responses[0]) == comparable(responses[1])
    assert responses[0].status_code == 429 and responses[0].headers["Retry-After"]


def test_the_quota_of_a_plan_is_refused_in_the_same_way(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str]
) -> None:
    app = make_app(sqlite_store_url, plans={"free": Plan(quota="1/day"), "pro": Plan()}, default_plan="free")
    runtime = app.extensions["valetkey"]
    add_limited(app, None)
    client_id = register_client(runtime, runtime.clock(), name="Robot", policy="machine").client_id
    call = caller(app, client_id=client_id)
    use_up(call)
    in_flask.clear()

    refused = call()
    assert (refused.status_code, refused.json["reason"], in_flask) == (429, "quota-exceeded", [])

    subscribe(runtime, client_id, "pro", runtime.clock(), approved=True)
    assert call().status_code == 200


def test_a_second_later_the_counter_is_read_again(limited_app: Flask, in_flask: list[str], clock: Clock) -> None:
    call = caller(limited_app)
    use_up(call)
    in_flask.clear()
    clock.forward(1.1)

    assert (call().status_code, in_flask) == (429, ["/api/limited"])
    assert (call().status_code, in_flask) == (429, ["/api/limited"])
    clock.forward(60)
    assert call().status_code == 200


def test_only_the_caller_that_was_refused_is_refused(limited_app: Flask) -> None:
    use_up(caller(limited_app, client_id="first"))

    assert caller(limited_app, client_id="second")().status_code == 200
    assert limited_app.test_client().get("/api/limited").status_code == 401


def test_a_token_that_is_no_longer_valid_gets_401(limited_app: Flask, clock: Clock) -> None:
    call = caller(limited_app, expires_in=1800)
    use_up(call)
    clock.forward(1801)

    assert call().status_code == 401


def test_refused_calls_are_counted_as_usage(limited_app: Flask) -> None:
    runtime, recorded = limited_app.extensions["valetkey"], []
    call = caller(limited_app, client_id="counted")
    use_up(call)
    runtime.usage.record = lambda token, *call, **__: recorded.append((token.client_id, *call[:3]))

    assert call().status_code == 429

    assert recorded == [("counted", "GET", "/api/limited", "429")]


def test_refused_calls_are_uses_of_the_grant(app: Flask, ada: Browser, clock: Clock) -> None:
    add_limited(app)
    runtime, token = app.extensions["valetkey"], ada.obtain_tokens()["access_token"]
    assert [ada.call(token, "/api/limited").status_code for _ in range(2)] == [200, 429]
    clock.forward(31)
    assert ada.call(token, "/api/limited").status_code == 429

    runtime.usage.flush()

    (grant,) = list_active(runtime.store, clock.time, owner="ada")
    assert grant.last_used_at == clock.time


def test_a_request_with_a_body_goes_through_flask(limited_app: Flask, in_flask: list[str]) -> None:
    call = caller(limited_app)
    assert call("POST").status_code == 200
    assert call("POST").status_code == 429
    in_flask.clear()

    assert (call("POST", data=b"{}").status_code, in_flask) == (429, ["/api/limited"])


def test_with_the_log_level_debug_each_call_has_a_line(
    limited_app: Flask, in_flask: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    call = caller(limited_app)
    use_up(call)
    caplog.set_level(logging.DEBUG, "valetkey")

    reference = call().json["reference"]

    assert reference in caplog.text


ROUTE_CUSTOMIZATIONS = {
    name: customize for name, (customize, _) in CUSTOMIZATIONS.items() if name != "hook of Valetkey's blueprint"
} | {
    "error handler": lambda app, patch: app.error_handler_spec[None][429].update(
        {TooManyRequests: lambda error: Response("mine")}
    ),
    "replaced view": lambda app, patch: patch.setitem(app.view_functions, "limited", lambda: Response("mine")),
}


@pytest.mark.parametrize("customize", ROUTE_CUSTOMIZATIONS.values(), ids=ROUTE_CUSTOMIZATIONS)
def test_a_customization_that_is_added_later_is_honored(
    limited_app: Flask,
    in_flask: list[str],
    monkeypatch: pytest.MonkeyPatch,
    customize: Callable[[Flask, pytest.MonkeyPatch], object],
) -> None:
    call = caller(limited_app)
    use_up(call)
    in_flask.clear()
    assert (call(base_url="http://localhost").status_code, in_flask) == (429, [])

    customize(limited_app, monkeypatch)

    try:
        response = call(base_url="http://localhost")
    except Exception:  # some of them make the app useless
        response = None
    assert in_flask or (response is not None and response.text == "mine")


@pytest.mark.parametrize("extension", [LoginManager, CSRFProtect])
def test_hooks_of_extensions_are_called(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str], extension: Callable[[Flask], object]
) -> None:
    """They do nothing for Valetkey's endpoints, but may do something for the app's."""
    app = make_app(sqlite_store_url)
    app.secret_key = "secret"
    extension(app)
    add_limited(app)
    call = caller(app)
    use_up(call)
    in_flask.clear()

    assert (call().status_code, in_flask) == (429, ["/api/limited"])


@pytest.mark.parametrize("scope", ["outer", "outer.inner"])
def test_a_hook_of_each_blueprint_around_the_route_is_called(
    make_app: MakeApp, sqlite_store_url: str, scope: str
) -> None:
    app, hooked = make_app(sqlite_store_url), []
    blueprints = {"outer": Blueprint("outer", __name__), "outer.inner": Blueprint("inner", __name__)}
    blueprints["outer.inner"].add_url_rule("/api/limited", "limited", require_oauth(limit="1/hour")(respond))
    blueprints["outer"].register_blueprint(blueprints["outer.inner"])
    blueprints[scope].before_request(lambda: hooked.append(request.path))
    app.register_blueprint(blueprints["outer"])
    call = caller(app)
    use_up(call)

    assert call().status_code == 429
    assert hooked == ["/api/limited"] * 3


@pytest.mark.parametrize("handled", [429, CallRefused], ids=["status", "class"])
@pytest.mark.parametrize("scope", ["app", "blueprint"])
def test_an_error_handler_of_the_app_chooses_the_body(
    make_app: MakeApp, sqlite_store_url: str, handled: Any, scope: str
) -> None:
    app, blueprint = make_app(sqlite_store_url), Blueprint("mine", __name__)
    blueprint.add_url_rule("/api/limited", "limited", require_oauth(limit="1/hour")(respond))
    (app if scope == "app" else blueprint).register_error_handler(handled, lambda error: ("my text", 429))
    app.register_blueprint(blueprint)
    call = caller(app)
    use_up(call)

    assert call().text == "my text"


def test_a_decorator_around_the_guard_is_called(make_app: MakeApp, sqlite_store_url: str) -> None:
    app, called = make_app(sqlite_store_url), []
    guarded = require_oauth(limit="1/hour")(respond)

    @functools.wraps(guarded)
    def decorated() -> Response:
        called.append(request.path)
        return guarded()

    app.add_url_rule("/api/limited", "limited", decorated)
    call = caller(app)
    use_up(call)

    assert call().status_code == 429
    assert len(called) == 3


def test_the_limit_of_an_inner_guard_is_charged_to_the_outer_one_too(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    inner = require_oauth(limit=RateLimit("1/hour", group="inner"))(respond)
    app.add_url_rule("/api/limited", "limited", require_oauth(limit=RateLimit("9/hour burst 9", group="outer"))(inner))
    call = caller(app)

    assert [call().status_code for _ in range(3)] == [200, 429, 429]
    assert [call().json["violated-policies"] for _ in range(7)][-1] == ["outer"]


@pytest.mark.parametrize("authorization", ["", None], ids=["empty", "missing"])
def test_calls_without_a_token_go_through_flask(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str], authorization: str | None
) -> None:
    app = make_app(sqlite_store_url)
    app.add_url_rule("/api/limited", "limited", require_oauth(optional=True, limit="1/hour")(respond))
    headers = {} if authorization is None else {"Authorization": authorization}

    responses = [app.test_client().get("/api/limited", headers=headers) for _ in range(3)]
    responses.append(app.test_client().get("/api/limited"))

    assert [response.status_code for response in responses] == [200, 429, 429, 429]
    assert in_flask == ["/api/limited"] * 4
    assert caller(app)().status_code == 200


def test_a_guard_in_a_hook_refuses_calls_of_paths_without_a_route(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.before_request(require_oauth(limit="1/hour")(lambda: None))
    call = caller(app)

    assert [call(path="/nowhere").status_code for _ in range(3)] == [404, 429, 429]


def test_a_refusal_of_a_mounted_app_is_not_remembered_by_the_outer_app(tmp_path: Path) -> None:
    mounted, outer = Flask("mounted"), Flask("outer")
    for app in (mounted, outer):
        if app is outer:
            app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mounted": mounted})  # type: ignore[method-assign]
        Valetkey(app, data_dir=str(tmp_path / app.name), env_prefix=None, embedded_worker=False)
        app.extensions["valetkey"].get_ready()
    add_limited(mounted)
    headers = {"Authorization": f"Bearer {mint_token(mounted)}"}

    responses = [outer.test_client().get("/mounted/api/limited", headers=headers) for _ in range(4)]

    assert [response.status_code for response in responses] == [200, 429, 429, 429]


def test_a_url_converter_of_the_app_is_called(make_app: MakeApp, sqlite_store_url: str) -> None:
    converted: list[str] = []

    class Recorded(UnicodeConverter):
        def to_python(self, value: str) -> str:
            converted.append(value)
            return value

    app = make_app(sqlite_store_url)
    app.url_map.converters["recorded"] = Recorded
    app.add_url_rule("/api/<recorded:name>", "limited", require_oauth(limit="1/hour")(lambda name: name))
    call = caller(app)

    assert [call().status_code for _ in range(4)] == [200, 429, 429, 429]
    assert converted == ["limited"] * 4


def test_a_caller_that_waits_is_forgotten(limited_app: Flask, clock: Clock) -> None:
    call = caller(limited_app)
    use_up(call)
    (layer,) = [layer for layer in layers(limited_app) if isinstance(layer, RepeatedRefusalMiddleware)]
    assert len(layer._routes) == 1
    clock.forward(61)

    assert call().status_code == 200
    assert layer._routes == {}


def layers(app: Flask) -> Iterator[Any]:
    layer: Any = app.wsgi_app
    while isinstance(layer, Middleware):
        yield layer
        layer = layer.inner


def test_hosts_that_the_default_issuer_does_not_serve_are_refused(tmp_path: Path) -> None:
    app = Flask("api")
    Valetkey(app, data_dir=str(tmp_path), env_prefix=None, embedded_worker=False)
    add_limited(app)
    app.extensions["valetkey"].get_ready()
    call = caller(app)
    use_up(call)

    assert call().status_code == 429
    assert call(base_url="http://api.example").status_code == 421
