"""``require_oauth`` in all its forms, with all kinds of Flask views."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_restful import Api, Resource
from sqlalchemy import select
from werkzeug.test import EnvironBuilder

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import SCOPES, Browser
from tests.support.clock import Clock
from valetkey import Valetkey, current_token, public, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.resource_server.guard.require_oauth import bucket_name
from valetkey.runtime import Runtime
from valetkey.storage import tables
from valetkey.storage.engine.statement import Statement

VIEW_KINDS = ("view", "method", "decorators", "blueprint", "restful", "restful-decorators")


def caller() -> Any:
    return {"client": current_token.client_id if current_token else None}


class Decorated(MethodView):
    @require_oauth("notes:read")
    def get(self) -> Any:
        return caller()

    @require_oauth("notes:write")
    def post(self) -> Any:
        return caller()


class AllMethods(MethodView):
    decorators = [require_oauth("notes:read")]  # noqa: RUF012  # as Flask's documentation writes it

    def get(self) -> Any:
        return caller()


class Restful(Resource):
    @require_oauth("notes:read")
    def get(self) -> Any:
        return caller()


class RestfulDecorators(Resource):
    method_decorators = [require_oauth("notes:read")]  # noqa: RUF012  # as Flask-RESTful's documentation writes it

    def get(self) -> Any:
        return caller()


def add_routes(app: Flask) -> None:
    blueprint = Blueprint("notes", __name__)
    for target, path in ((app, "view"), (blueprint, "blueprint")):
        target.add_url_rule(f"/api/{path}", path, require_oauth("notes:read")(lambda: jsonify(caller())))
    app.add_url_rule("/api/method", view_func=Decorated.as_view("method"))
    app.add_url_rule("/api/decorators", view_func=AllMethods.as_view("decorators"))
    app.register_blueprint(blueprint)
    api = Api(app)
    api.add_resource(Restful, "/api/restful")
    api.add_resource(RestfulDecorators, "/api/restful-decorators")
    forms = {
        "all": require_oauth("notes:read notes:write"),
        "any": require_oauth(["notes:write", "notes:read profile"]),
        "bare": require_oauth(),
        "bare-name": require_oauth,
        "optional": require_oauth("notes:read", optional=True),
        "async": require_oauth("notes:read"),
    }
    for name, decorator in forms.items():
        app.add_url_rule(f"/api/{name}", name, decorator(lambda: jsonify(caller())))


@pytest.fixture
def api(make_app: MakeApp, sqlite_store_url: str) -> Browser:
    """A client that can request any scope, and an API with routes of every form."""
    app = make_app(sqlite_store_url)
    add_routes(app)
    return Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )


def token(api: Browser, scope: str) -> str:
    return str(api.request_token("client_credentials", scope=scope).json["access_token"])


@pytest.mark.parametrize("path", VIEW_KINDS)
def test_every_kind_of_view_requires_the_scope(api: Browser, path: str) -> None:
    good, other = token(api, "notes:read"), token(api, "profile")

    assert api.call(None, f"/api/{path}").status_code == 401
    refused = api.call(other, f"/api/{path}")
    assert (refused.status_code, refused.json["error"]) == (403, "insufficient_scope")
    called = api.call(good, f"/api/{path}")
    assert (called.status_code, called.json) == (200, {"client": api.client.client_id})


def test_the_refusal_names_the_scopes_that_would_suffice(api: Browser) -> None:
    details = {path: api.call(token(api, "notes:read"), f"/api/{path}").json.get("detail") for path in ("all", "any")}

    assert details["all"] == "the access token lacks the scope notes:write"
    assert details["any"] == "the access token needs the scope notes:write or notes:read profile"


def test_each_method_of_a_class_based_view_can_require_another_scope(api: Browser) -> None:
    headers = {"Authorization": f"Bearer {token(api, 'notes:read')}"}

    assert api.http.get("/api/method", headers=headers).status_code == 200
    assert api.http.post("/api/method", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("all", "notes:read", 403),
        ("all", "notes:write", 403),
        ("all", "notes:read notes:write", 200),
        ("any", "notes:write", 200),
        ("any", "notes:read", 403),
        ("any", "notes:read profile", 200),
        ("any", "profile", 403),
        ("bare", "profile", 200),
        ("bare-name", "profile", 200),
        ("optional", "notes:read", 200),
        ("optional", "profile", 403),
    ],
)
def test_a_string_requires_all_its_scopes_and_a_list_any_of_its_strings(
    api: Browser, path: str, scope: str, status: int
) -> None:
    assert api.call(token(api, scope), f"/api/{path}").status_code == status


@pytest.mark.parametrize(("path", "scope"), [("all", "notes:read notes:write"), ("any", "notes:write")])
def test_the_challenge_names_all_scopes_or_the_first_alternative(api: Browser, path: str, scope: str) -> None:
    refused = api.call(token(api, "profile"), f"/api/{path}")

    assert f'scope="{scope}"' in refused.headers["WWW-Authenticate"]


def test_an_optional_token_can_be_omitted_but_must_not_be_invalid(api: Browser) -> None:
    anonymous = api.call(None, "/api/optional")
    assert (anonymous.status_code, anonymous.json) == (200, {"client": None})

    assert api.call("bad", "/api/optional").status_code == 401
    assert api.http.get("/api/optional", headers={"Authorization": "Basic eDp5"}).status_code == 401


def test_a_token_in_the_query_or_the_body_is_ignored(api: Browser) -> None:
    """RFC 9700 §4.3.2."""
    good = token(api, "notes:read")

    assert api.http.get(f"/api/view?access_token={good}").status_code == 401
    assert api.http.get("/api/view", data={"access_token": good}).status_code == 401


def test_a_decorated_view_keeps_its_name_and_docstring() -> None:
    def orders() -> str:
        """All orders."""
        return ""

    for decorated in (require_oauth("profile")(orders), public(limit="1/second")(orders), public(orders)):
        assert (decorated.__name__, decorated.__doc__) == ("orders", "All orders.")


def test_a_module_level_extension_works_with_an_app_factory(tmp_path: Any, clock: Clock) -> None:
    valet = Valetkey(
        scopes=SCOPES, clock=clock, embedded_worker=False, encryption_keys=(ENCRYPTION_KEY,), data_dir=str(tmp_path)
    )

    def create_app(number: int) -> Flask:
        app = Flask(f"factory{number}")
        app.config["VALETKEY_ISSUER"] = f"http://127.0.0.1:{9000 + number}"
        app.config["VALETKEY_DATABASE_URL"] = f"sqlite:///{tmp_path}/{number}.db"
        valet.init_app(app)
        add_routes(app)
        return app

    apps = [create_app(number) for number in range(2)]
    runtimes: list[Runtime] = [app.extensions["valetkey"] for app in apps]
    for runtime in runtimes:
        runtime.get_ready()
    robots = [
        Browser(app.test_client(), register_client(runtime, runtime.clock(), name="R", policy="machine"))
        for app, runtime in zip(apps, runtimes, strict=True)
    ]
    tokens = [token(robot, "notes:read") for robot in robots]

    statuses = [[robot.call(value, "/api/view").status_code for value in tokens] for robot in robots]

    assert statuses == [[200, 401], [401, 200]], "two issuers in one process do not accept each other's tokens"
    issuers = [robot.get("/.well-known/oauth-authorization-server").json["issuer"] for robot in robots]
    assert issuers == ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
    for runtime in runtimes:
        runtime.close()


def test_current_token_is_set_in_its_own_request_only(make_app: MakeApp, sqlite_store_url: str) -> None:
    """Also if a test keeps one application context open for many requests."""
    app = make_app(sqlite_store_url)
    add_routes(app)
    app.add_url_rule("/api/open", "open", public(lambda: jsonify(caller())))
    robot = register_client(
        app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"
    )
    api = Browser(app.test_client(), robot)
    good = token(api, "notes:read")

    with app.app_context():
        assert not current_token
        called = [api.call(value, f"/api/{path}").json for value, path in ((good, "bare"), (None, "open"))]
        assert not current_token

    assert called == [{"client": robot.client_id}, {"client": None}]


def test_an_error_handler_can_require_a_token(make_app: MakeApp, sqlite_store_url: str) -> None:
    """An error handler has no route, so usage is recorded without one."""
    app = make_app(sqlite_store_url)
    app.register_error_handler(404, lambda problem: _not_found())
    api = Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )

    response = api.call(token(api, "profile"), "/nowhere")

    assert (response.status_code, response.json) == (404, {"client": api.client.client_id})
    runtime = app.extensions["valetkey"]
    runtime.usage.flush()
    assert [row[0] for row in runtime.store.fetch_all(_ROUTES())] == ["GET (no route)"]


_ROUTES = Statement(select(tables.usage.c.route))


@require_oauth("profile", limit="10/minute")
def _not_found() -> Any:
    return caller(), 404


def test_an_app_does_not_see_the_token_of_the_app_before_it_in_a_cascade(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    """A cascade passes one WSGI environment to several apps, one after the other."""
    first, second = make_app(sqlite_store_url), make_app(sqlite_store_url)
    first.add_url_rule("/api/here", "here", require_oauth("profile")(lambda: (jsonify(caller()), 404)))
    second.add_url_rule("/api/here", "here", public(lambda: jsonify(caller())))
    robot = Browser(
        first.test_client(),
        register_client(first.extensions["valetkey"], first.extensions["valetkey"].clock(), name="R", policy="machine"),
    )
    environ = EnvironBuilder("/api/here", headers={"Authorization": f"Bearer {token(robot, 'profile')}"}).get_environ()

    bodies = [json.loads(b"".join(app.wsgi_app(environ, lambda *_: None))) for app in (first, second)]

    assert bodies == [{"client": robot.client.client_id}, {"client": None}]


def test_an_attribute_of_current_token_without_a_token_raises_a_clear_error() -> None:
    with pytest.raises(AttributeError, match="current_token is false and has no user_id"):
        _ = current_token.user_id


def test_a_protected_route_of_an_app_without_valetkey_says_what_is_missing() -> None:
    app = Flask("forgotten")
    app.testing = True
    app.add_url_rule("/api/notes", view_func=require_oauth("notes:read")(lambda: "x"))

    with pytest.raises(RuntimeError, match=r"add Valetkey\(app, scopes={...}\), or call init_app\(app\)"):
        app.test_client().get("/api/notes")


def test_the_bucket_name_of_a_partial_is_the_same_in_every_process() -> None:
    assert "0x" not in bucket_name(functools.partial(print, "x"))


def test_a_bound_method_can_be_public() -> None:
    class Notes:
        def get(self) -> str:
            return "x"

    assert callable(public(Notes().get))
