"""A call that the guard refuses stays refused, whatever extensions, error handlers and decorators the host app has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apiflask import APIFlask, Schema
from apiflask.fields import Integer
from flask import Blueprint, Flask, jsonify, request
from flask.views import MethodView
from flask_restful import Api as RestfulApi
from flask_restful import Resource as RestfulResource
from flask_restful import fields as restful_fields
from flask_restful import marshal_with
from flask_restx import Api as RestxApi
from flask_restx import Resource as RestxResource
from flask_restx import fields as restx_fields
from flask_smorest import Api as SmorestApi
from flask_smorest import Blueprint as SmorestBlueprint
from werkzeug.exceptions import HTTPException, Unauthorized
from werkzeug.test import TestResponse

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import SCOPES, Browser
from valetkey import CallRefused, Valetkey, public, require_oauth
from valetkey.api_helpers import deprecated, idempotent
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime

PATH = "/api/note"
guard = require_oauth("notes:read", limit="2/minute burst 2")


class NoteSchema(Schema):  # type: ignore[misc]  # APIFlask's Schema is untyped
    id = Integer()


def catch_everything(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return what was stored before if the view fails: a decorator that many apps have."""

    @functools.wraps(view)
    def caught(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except Exception:
            return jsonify(stored="secret note"), 200, {"Cache-Control": "public", "ETag": '"1"'}

    return caught


def add_view(app: Flask) -> None:
    app.add_url_rule(PATH, "note", guard(lambda: jsonify(id=1)))


def add_caught_view(app: Flask) -> None:
    app.add_url_rule(PATH, "note", catch_everything(guard(lambda: jsonify(id=1))))


def add_handler(exception_class: type[Exception]) -> Callable[[Flask], None]:
    def add(app: Flask) -> None:
        app.register_error_handler(exception_class, lambda error: (jsonify(id=None), 200))
        add_view(app)

    return add


def add_blueprint_handler(app: Flask) -> None:
    blueprint = Blueprint("notes", __name__)
    blueprint.register_error_handler(Exception, lambda error: (jsonify(id=None), 200))
    blueprint.add_url_rule(PATH, "note", guard(lambda: jsonify(id=1)))
    app.register_blueprint(blueprint)


def add_restful(app: Flask) -> None:
    class Note(RestfulResource):
        @marshal_with({"id": restful_fields.Integer})
        @guard
        def get(self) -> Any:
            return {"id": 1}

    RestfulApi(app, catch_all_404s=True).add_resource(Note, PATH)


def add_restx(app: Flask) -> None:
    api = RestxApi(app, doc=False)

    @api.errorhandler(Exception)
    def handle(error: Exception) -> Any:
        return {"id": None}, 200

    @api.route(PATH)
    class Note(RestxResource):
        @api.marshal_with(api.model("Note", {"id": restx_fields.Integer}))
        @guard
        def get(self) -> Any:
            return {"id": 1}


def add_smorest(app: Flask) -> None:
    app.config.update(API_TITLE="Notes", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    blueprint = SmorestBlueprint("notes", __name__)

    @blueprint.route(PATH)
    class Note(MethodView):
        @blueprint.response(200, NoteSchema)
        @guard
        def get(self) -> Any:
            return {"id": 1}

    SmorestApi(app).register_blueprint(blueprint)


def add_apiflask(app: APIFlask) -> None:
    @app.get(PATH)
    @app.output(NoteSchema)
    @guard
    def note() -> Any:
        return {"id": 1}

    @app.error_processor
    def process(error: Any) -> Any:
        return {"id": None}, 200, {}


HOSTS: dict[str, Callable[[Any], None]] = {
    "errorhandler(Exception)": add_handler(Exception),
    "errorhandler(HTTPException)": add_handler(HTTPException),
    "errorhandler of a blueprint": add_blueprint_handler,
    "decorator that catches": add_caught_view,
    "Flask-RESTful": add_restful,
    "Flask-RESTX": add_restx,
    "flask-smorest": add_smorest,
    "APIFlask": add_apiflask,
}


@pytest.fixture(params=["before Valetkey", "after Valetkey"])
def order(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=HOSTS)
def api(request: pytest.FixtureRequest, order: str, sqlite_store_url: str) -> Iterator[Browser]:
    """A client of an API with an extension or error handler that was set up before or after Valetkey."""
    app: Flask = APIFlask("api", docs_path=None, spec_path=None) if request.param == "APIFlask" else Flask("api")
    valet = Valetkey(
        scopes=SCOPES, encryption_keys=(ENCRYPTION_KEY,), embedded_worker=False, database_url=sqlite_store_url
    )
    steps: list[Callable[[Any], None]] = [HOSTS[request.param], valet.init_app]
    for step in steps if order == "before Valetkey" else reversed(steps):
        step(app)
    runtime: Runtime = app.extensions["valetkey"]
    yield Browser(app.test_client(), register_client(runtime, runtime.clock(), name="Robot", policy="machine"))
    runtime.close()


def token(api: Browser, scope: str) -> str:
    return str(api.request_token("client_credentials", scope=scope).json["access_token"])


def check_is_refused(response: TestResponse, status: int) -> None:
    assert (response.status_code, response.mimetype) == (status, "application/problem+json"), response.text
    assert response.json["status"] == status
    assert "ETag" not in response.headers and response.headers.get("Cache-Control") != "public"


def test_a_refused_call_has_the_response_of_the_guard(api: Browser) -> None:
    missing, invalid, insufficient = (api.call(value, PATH) for value in (None, "bad", token(api, "profile")))

    for response, status in ((missing, 401), (invalid, 401), (insufficient, 403)):
        check_is_refused(response, status)
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert invalid.headers["Cache-Control"] == "no-store"
    assert api.http.head(PATH).status_code == 401


def test_a_call_over_the_limit_has_the_response_of_the_guard(api: Browser) -> None:
    good = token(api, "notes:read")
    responses = [api.call(good, PATH) for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].json == {"id": 1}
    check_is_refused(responses[2], 429)
    assert int(responses[2].headers["Retry-After"]) >= 1
    assert responses[2].headers["RateLimit"].startswith('"')


def robot(app: Flask) -> Browser:
    return Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )


@pytest.mark.parametrize("handled", [401, CallRefused])
def test_an_error_handler_for_the_refusal_chooses_the_body_but_not_the_status(
    make_app: MakeApp, sqlite_store_url: str, handled: Any
) -> None:
    app = make_app(sqlite_store_url)
    app.register_error_handler(Exception, lambda error: "generic")

    def describe(error: CallRefused) -> Any:
        return jsonify(code=error.code, error=error.error, text=error.description), 200, {"WWW-Authenticate": "Basic"}

    app.register_error_handler(handled, describe)
    add_view(app)

    response = robot(app).call("bad", PATH)

    assert response.status_code == 401
    assert response.json["code"] == 401 and response.json["error"] == "invalid_token" and response.json["text"]
    assert [value.split()[0] for value in response.headers.getlist("WWW-Authenticate")] == ["Bearer"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("handled", [Unauthorized, CallRefused])
@pytest.mark.parametrize("where", ["app", "blueprint", "namespace"])
def test_an_error_handler_of_flask_restx_for_the_refusal_comes_before_that_of_the_app(
    where: str, handled: type[Exception], order: str, sqlite_store_url: str
) -> None:
    app, blueprint = Flask("api"), Blueprint("notes", __name__)
    valet = Valetkey(scopes=SCOPES, encryption_keys=(ENCRYPTION_KEY,), database_url=sqlite_store_url)
    if order == "after Valetkey":
        valet.init_app(app)
    api = RestxApi(blueprint if where == "blueprint" else app, doc=False)
    namespace = api.namespace("names", path="/")
    registry = namespace if where == "namespace" else api

    @registry.errorhandler(Exception)
    def handle_all(error: Exception) -> Any:
        return {"id": None}, 200

    @registry.errorhandler(handled)
    def handle(error: Any) -> Any:
        return {"own": error.error, "code": error.code}, 200, {"WWW-Authenticate": "Basic", "X-Own": "1"}

    @namespace.route(PATH)
    class Note(RestxResource):
        @guard
        def get(self) -> Any:
            return {"id": 1}

    if where == "blueprint":
        app.register_blueprint(blueprint)
    if order == "before Valetkey":
        valet.init_app(app)
    app.register_error_handler(401, lambda error: "by the app")
    app.add_url_rule("/api/other", "other", guard(lambda: ""))

    response, other = (
        app.test_client().get(path, headers={"Authorization": "Bearer x"}) for path in (PATH, "/api/other")
    )

    assert (response.status_code, response.json) == (401, {"own": "invalid_token", "code": 401})
    assert response.headers["X-Own"] == "1"
    assert [value.split()[0] for value in response.headers.getlist("WWW-Authenticate")] == ["Bearer"]
    assert other.text == "by the app"
    app.extensions["valetkey"].close()


def test_an_error_handler_of_the_blueprint_comes_before_that_of_the_app(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app, blueprint = make_app(sqlite_store_url), Blueprint("notes", __name__)
    app.register_error_handler(401, lambda error: "by the app")
    blueprint.register_error_handler(401, lambda error: "by the blueprint")
    blueprint.add_url_rule(PATH, "note", guard(lambda: ""))
    app.register_blueprint(blueprint)
    app.add_url_rule("/api/other", "other", guard(lambda: ""))

    assert [robot(app).call(None, path).text for path in (PATH, "/api/other")] == ["by the blueprint", "by the app"]


def test_an_error_handler_that_fails_does_not_undo_the_refusal(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(401, lambda error: 1 / 0)
    add_view(app)

    check_is_refused(robot(app).call(None, PATH), 401)


def test_hooks_and_error_handlers_can_require_a_token(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.register_error_handler(404, guard(lambda error: ("", 404)))

    check = require_oauth("profile")(lambda: None)
    app.before_request(lambda: check() if request.path == "/nowhere" else None)

    app.register_error_handler(Exception, lambda error: "generic")
    api = robot(app)

    check_is_refused(api.call(None, "/nowhere"), 401)
    check_is_refused(api.call(token(api, "profile"), "/nowhere"), 403)


def test_each_refusal_is_a_new_exception(make_app: MakeApp, sqlite_store_url: str) -> None:
    app, caught = make_app(sqlite_store_url), []
    app.register_error_handler(CallRefused, lambda error: caught.append(error) or ("", 401))
    add_view(app)

    for _ in range(2):
        robot(app).call(None, PATH)

    assert caught[0] is not caught[1]


def test_a_call_that_a_decorator_tries_again_is_admitted(make_app: MakeApp, sqlite_store_url: str, clock: Any) -> None:
    app, view = make_app(sqlite_store_url), guard(lambda: "admitted")

    @app.get(PATH)
    def retry() -> Any:
        try:
            return view()
        except CallRefused:
            clock.forward(120)
            return view()

    api = robot(app)
    good = token(api, "notes:read")

    assert [api.call(good, PATH).text for _ in range(3)] == ["admitted"] * 3


def test_another_guard_does_not_undo_a_refusal(make_app: MakeApp, sqlite_store_url: str) -> None:
    app, other = make_app(sqlite_store_url), require_oauth(lambda: "secret")

    @app.get(PATH)
    def fall_back() -> Any:
        try:
            return guard(lambda: "")()
        except CallRefused:
            return other()

    api = robot(app)

    check_is_refused(api.call(token(api, "profile"), PATH), 403)


def test_a_generator_as_middleware_does_not_undo_a_refusal(make_app: MakeApp, sqlite_store_url: str) -> None:
    class Generator:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
            yield from self.inner(environ, start_response)

    app = Flask("api")
    app.wsgi_app = Generator(app.wsgi_app)  # type: ignore[method-assign]  # Flask documents this way
    valet = Valetkey(app, scopes=SCOPES, encryption_keys=(ENCRYPTION_KEY,), database_url=sqlite_store_url)
    add_caught_view(app)
    app.add_url_rule("/api/stream", "stream", public(lambda: iter(["a", "b"])))

    assert app.test_client().get("/api/stream").text == "ab"
    check_is_refused(app.test_client().get(PATH), 401)
    app.extensions["valetkey"].close()
    assert valet is not None


def test_a_refusal_releases_the_idempotency_key(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.add_url_rule(PATH, "note", idempotent(guard(lambda: jsonify(id=1))), methods=["POST"])

    responses = [app.test_client().post(PATH, headers={"Idempotency-Key": '"one"'}) for _ in range(2)]

    for response in responses:
        check_is_refused(response, 401)
        assert "Idempotent-Replayed" not in response.headers


def test_the_refusal_of_a_deprecated_view_says_that_it_is_deprecated(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.add_url_rule(PATH, "note", deprecated(since="2026-01-31")(guard(lambda: jsonify(id=1))))

    response = app.test_client().get(PATH)

    assert (response.status_code, response.headers["Deprecation"]) == (401, "@1769817600")
