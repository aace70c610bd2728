"""``require_oauth`` in all its forms, wherever Flask lets a view be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_restful import Api, Resource
from sqlalchemy import select
from werkzeug.test import EnvironBuilder

from tests.conftest import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import SCOPES, Browser, Clock
from valetkey import Valetkey, current_token, public, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.errors import OAuthError
from valetkey.runtime import Runtime
from valetkey.storage import tables
from valetkey.storage.engine.statement import Statement

CLASSES = ("view", "method", "decorators", "blueprint", "restful", "restful-decorators")


def answer() -> Any:
    return {"client": current_token.client_id if current_token else None}


class Decorated(MethodView):
    @require_oauth("notes:read")
    def get(self) -> Any:
        return answer()

    @require_oauth("notes:write")
    def post(self) -> Any:
        return answer()


class AllMethods(MethodView):
    decorators = [require_oauth("notes:read")]  # noqa: RUF012  # as Flask's documentation writes it

    def get(self) -> Any:
        return answer()


class Restful(Resource):
    @require_oauth("notes:read")
    def get(self) -> Any:
        return answer()


class RestfulDecorators(Resource):
    method_decorators = [require_oauth("notes:read")]  # noqa: RUF012  # as its documentation writes it

    def get(self) -> Any:
        return answer()


def add_routes(app: Flask) -> None:
    blueprint = Blueprint("notes", __name__)
    for target, path in ((app, "view"), (blueprint, "blueprint")):
        target.add_url_rule(f"/api/{path}", path, require_oauth("notes:read")(lambda: jsonify(answer())))
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
        app.add_url_rule(f"/api/{name}", name, decorator(lambda: jsonify(answer())))


@pytest.fixture
def api(make_app: MakeApp, sqlite_store_url: str) -> Browser:
    """A machine that may ask for any scope, before an API with every form of route."""
    app = make_app(sqlite_store_url)
    add_routes(app)
    return Browser(app.test_client(), register_client(app.extensions["valetkey"], name="Robot", policy="machine"))


def token(api: Browser, scope: str) -> str:
    return str(api.request_token("client_credentials", scope=scope).json["access_token"])


@pytest.mark.parametrize("path", CLASSES)
def test_it_guards_a_route_of_any_kind(api: Browser, path: str) -> None:
    good, other = token(api, "notes:read"), token(api, "profile")

    assert api.call(None, f"/api/{path}").status_code == 401
    refused = api.call(other, f"/api/{path}")
    assert (refused.status_code, refused.json["error"]) == (403, "insufficient_scope")
    called = api.call(good, f"/api/{path}")
    assert (called.status_code, called.json) == (200, {"client": api.client.client_id})


def test_who_lacks_a_scope_is_told_which_would_do(api: Browser) -> None:
    told = {path: api.call(token(api, "notes:read"), f"/api/{path}").json.get("detail") for path in ("all", "any")}

    assert told["all"] == "the access token lacks the scope notes:write"
    assert told["any"] == "the access token needs the scope notes:write or notes:read profile"


def test_each_method_of_a_view_may_ask_for_another_scope(api: Browser) -> None:
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
def test_a_string_means_all_and_a_list_means_any(api: Browser, path: str, scope: str, status: int) -> None:
    assert api.call(token(api, scope), f"/api/{path}").status_code == status


@pytest.mark.parametrize(("path", "scope"), [("all", "notes:read notes:write"), ("any", "notes:write")])
def test_the_challenge_names_the_scopes_or_the_first_choice(api: Browser, path: str, scope: str) -> None:
    refused = api.call(token(api, "profile"), f"/api/{path}")

    assert f'scope="{scope}"' in refused.headers["WWW-Authenticate"]


def test_where_a_token_is_optional_anybody_passes_but_not_with_a_bad_one(api: Browser) -> None:
    anonymous = api.call(None, "/api/optional")
    assert (anonymous.status_code, anonymous.json) == (200, {"client": None})

    assert api.call("bad", "/api/optional").status_code == 401
    assert api.http.get("/api/optional", headers={"Authorization": "Basic eDp5"}).status_code == 401


def test_a_token_in_the_query_or_the_body_counts_for_nothing(api: Browser) -> None:
    """RFC 9700 §4.3.2."""
    good = token(api, "notes:read")

    assert api.http.get(f"/api/view?access_token={good}").status_code == 401
    assert api.http.get("/api/view", data={"access_token": good}).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": ""},
        {"scope": []},
        {"scope": ["", "a"]},
        {"scope": 'a"b'},
        {"scope": "a", "limit": "often"},
        {"scope": "a", "limit": ""},
        {"scope": "a", "limit": {}},
        {"scope": "a", "limit": 100},
        {"scope": "a", "cost": 0},
        {"scope": "a", "cost": "2"},
        {"scope": "a", "cost": 1.5},
        {"scope": "a", "acr": ["phr"]},
        {"scope": "a", "acr": ""},
        {"scope": "a", "max_age": -1},
        {"scope": "a", "max_age": "300"},
        {"scope": "a", "resource": "notes"},
    ],
)
def test_what_cannot_be_read_is_refused_where_the_view_is_decorated(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OAuthError), match=r".") as refused:
        require_oauth(**wrong)

    assert str(refused.value)


@pytest.mark.parametrize("limit", ["60/minute", 60, {}])
def test_a_limit_of_a_public_view_is_said_by_name(limit: Any) -> None:
    with pytest.raises(ValueError, match="by name: public"):
        public(limit)


def test_the_decorated_view_keeps_its_name_and_its_words() -> None:
    def orders() -> str:
        """All orders."""
        return ""

    for decorated in (require_oauth("profile")(orders), public(limit="1/second")(orders), public(orders)):
        assert (decorated.__name__, decorated.__doc__) == ("orders", "All orders.")


def test_an_app_factory_and_a_module_level_extension(tmp_path: Any, clock: Clock) -> None:
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
    for one in runtimes:
        one.get_ready()
    robots = [
        Browser(app.test_client(), register_client(one, name="R", policy="machine"))
        for app, one in zip(apps, runtimes, strict=True)
    ]
    tokens = [token(robot, "notes:read") for robot in robots]

    statuses = [[robot.call(one, "/api/view").status_code for one in tokens] for robot in robots]

    assert statuses == [[200, 401], [401, 200]], "two issuers in one process do not take each other's tokens"
    issuers = [robot.get("/.well-known/oauth-authorization-server").json["issuer"] for robot in robots]
    assert issuers == ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
    for one in runtimes:
        one.close()


def test_a_token_is_known_to_its_own_request_only(make_app: MakeApp, sqlite_store_url: str) -> None:
    """Also where a test holds one application context open for many requests."""
    app = make_app(sqlite_store_url)
    add_routes(app)
    app.add_url_rule("/api/stranger", "stranger", public(lambda: jsonify(answer())))
    robot = register_client(app.extensions["valetkey"], name="Robot", policy="machine")
    api = Browser(app.test_client(), robot)
    good = token(api, "notes:read")

    with app.app_context():
        assert not current_token
        called = [api.call(shown, f"/api/{path}").json for shown, path in ((good, "bare"), (None, "stranger"))]
        assert not current_token

    assert called == [{"client": robot.client_id}, {"client": None}]


def test_an_error_handler_may_be_guarded_too(make_app: MakeApp, sqlite_store_url: str) -> None:
    """There is no route then, and so nothing to name in the metering."""
    app = make_app(sqlite_store_url)
    app.register_error_handler(404, lambda problem: _not_found())
    api = Browser(app.test_client(), register_client(app.extensions["valetkey"], name="Robot", policy="machine"))

    told = api.call(token(api, "profile"), "/nowhere")

    assert (told.status_code, told.json) == (404, {"client": api.client.client_id})
    runtime = app.extensions["valetkey"]
    runtime.usage.flush()
    assert [row[0] for row in runtime.store.fetch_all(_ROUTES())] == ["GET (no route)"]


_ROUTES = Statement(select(tables.usage.c.route))


@require_oauth("profile", limit="10/minute")
def _not_found() -> Any:
    return answer(), 404


def test_no_app_sees_the_token_of_another_that_was_asked_first(make_app: MakeApp, sqlite_store_url: str) -> None:
    """One after the other, with one WSGI environment, as a cascade of apps has it."""
    first, second = make_app(sqlite_store_url), make_app(sqlite_store_url)
    first.add_url_rule("/api/here", "here", require_oauth("profile")(lambda: (jsonify(answer()), 404)))
    second.add_url_rule("/api/here", "here", public(lambda: jsonify(answer())))
    robot = Browser(first.test_client(), register_client(first.extensions["valetkey"], name="R", policy="machine"))
    environ = EnvironBuilder("/api/here", headers={"Authorization": f"Bearer {token(robot, 'profile')}"}).get_environ()

    told = [json.loads(b"".join(app.wsgi_app(environ, lambda *_: None))) for app in (first, second)]

    assert told == [{"client": robot.client.client_id}, {"client": None}]


def test_who_asks_for_a_token_where_there_is_none_is_told_so() -> None:
    with pytest.raises(AttributeError, match="current_token is false and has no user_id"):
        _ = current_token.user_id
