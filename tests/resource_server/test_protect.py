"""``protect`` for whole blueprints, and ``protect_by_default``."""

from __future__ import annotations

import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_restful import Api, Resource
from flask_restx import Namespace

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from valetkey import current_token, protect, public, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.cli.app_checks import undecorated_routes
from valetkey.resource_server.routes import iter_routes
from valetkey.resource_server.start_checks import unknown_scopes
from valetkey.testing import headers_for


def caller() -> Any:
    return jsonify(client=current_token.client_id if current_token else None)


@public
def open_to_all() -> Any:
    return caller()


@require_oauth("notes:write")
def needs_write() -> Any:
    return caller()


class Mixed(MethodView):
    def get(self) -> Any:
        return caller()

    @require_oauth("notes:write")
    def post(self) -> Any:
        return caller()

    @public
    def delete(self) -> Any:
        return caller()


class Rest(Resource):
    def get(self) -> Any:
        return {}


async def later() -> Any:
    return jsonify(ok=True)


def add_notes(app: Flask, *, protected_first: bool) -> None:
    api, inner, own = (Blueprint(name, __name__) for name in ("api", "inner", "own"))
    if protected_first:
        protect(api, "notes:read", limit="1000/minute burst 1000")
    for target, name in ((api, "outer"), (inner, "inner"), (own, "own")):
        target.add_url_rule(f"/{name}", name, lambda: caller())
    api.add_url_rule("/later", "later", later)
    api.add_url_rule("/open", "open", open_to_all)
    api.add_url_rule("/write", "write", needs_write)
    api.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    Api(api).add_resource(Rest, "/rest")
    protect(own, "notes:write")
    inner.register_blueprint(own)
    api.register_blueprint(inner)
    app.register_blueprint(api, url_prefix="/api")
    if not protected_first:
        protect(api, "notes:read", limit="1000/minute burst 1000")


@pytest.fixture(params=[True, False], ids=["before the routes", "after the routes"])
def api(request: pytest.FixtureRequest, make_app: MakeApp, sqlite_store_url: str) -> Browser:
    app = make_app(sqlite_store_url)
    add_notes(app, protected_first=request.param)
    return Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )


def token(api: Browser, scope: str) -> str:
    return str(api.request_token("client_credentials", scope=scope).json["access_token"])


@pytest.mark.parametrize("path", ["outer", "inner", "later", "rest", "mixed"])
def test_every_view_of_the_blueprint_requires_the_scope(api: Browser, path: str) -> None:
    assert api.call(None, f"/api/{path}").status_code == 401
    assert api.call(token(api, "profile"), f"/api/{path}").status_code == 403
    # In another thread: an async view needs one without an event loop, and a browser test may leave one in this thread.
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(api.call, token(api, "notes:read"), f"/api/{path}").result()
    assert response.status_code == 200


def test_a_views_own_decorator_takes_precedence(api: Browser) -> None:
    assert api.call(None, "/api/open").status_code == 200
    assert api.call(token(api, "notes:read"), "/api/write").status_code == 403
    assert api.call(token(api, "notes:write"), "/api/write").status_code == 200


def test_a_nested_blueprint_can_require_another_scope(api: Browser) -> None:
    assert api.call(token(api, "notes:read"), "/api/own").status_code == 403
    assert api.call(token(api, "notes:write"), "/api/own").status_code == 200


def test_undecorated_methods_of_a_class_based_view_are_guarded(api: Browser) -> None:
    headers = {"Authorization": f"Bearer {token(api, 'notes:write')}"}

    assert api.http.head("/api/mixed").status_code == 401
    assert api.http.get("/api/mixed", headers=headers).status_code == 403
    assert api.http.post("/api/mixed", headers=headers).status_code == 200
    assert api.http.delete("/api/mixed").status_code == 200


def test_responses_have_the_fields_of_the_blueprints_limit(api: Browser) -> None:
    assert "RateLimit" in api.call(token(api, "notes:read"), "/api/outer").headers


def test_iter_routes_yields_the_scopes_that_the_blueprint_requires(api: Browser) -> None:
    app = api.http.application

    scopes = {(route.path, *route.methods): route.scopes for route in iter_routes(app) if route.path.startswith("/api")}

    assert scopes["/api/outer", "GET"] == scopes["/api/rest", "GET"] == scopes["/api/mixed", "GET"] == {"notes:read"}
    assert scopes["/api/own", "GET"] == scopes["/api/mixed", "POST"] == {"notes:write"}
    assert scopes["/api/mixed", "DELETE"] == scopes["/api/open", "GET"] == frozenset()
    assert list(undecorated_routes(app, app.extensions["valetkey"].settings)) == []


def test_the_views_of_a_protected_blueprint_stay_those_of_the_app(api: Browser) -> None:
    app = api.http.application
    before = dict(app.view_functions)

    api.call(None, "/api/outer")
    list(iter_routes(app))

    assert app.view_functions == before


@pytest.mark.parametrize("target", [Flask(__name__), Namespace("notes"), MethodView.as_view("notes"), "notes"])
def test_what_is_no_blueprint_cannot_be_protected(target: Any) -> None:
    with pytest.raises(TypeError, match=rf"takes a flask.Blueprint, and not a {type(target).__name__}: decorate"):
        protect(target, "notes:read")


def test_a_hook_of_a_protected_blueprint_can_require_the_token_itself(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    notes = protect(Blueprint("notes", __name__, url_prefix="/api/notes"), "notes:read")
    callers: list[str] = []
    notes.before_request(require_oauth("notes:read")(lambda: callers.append(current_token.client_id)))
    notes.add_url_rule("/", "list", caller)
    app.register_blueprint(notes)
    http = app.test_client()

    assert http.get("/api/notes/").status_code == 401
    assert http.get("/api/notes/", headers=headers_for(app, "notes:read")).status_code == 200
    assert len(callers) == 1


def test_invalid_arguments_of_protect_raise_at_once() -> None:
    with pytest.raises(ValueError, match="burst"):
        protect(Blueprint("b", __name__), "notes:read", limit="often")
    with pytest.raises(ValueError, match="at least one scope"):
        protect(Blueprint("b", __name__), [])


def test_an_unknown_scope_of_a_blueprint_is_reported(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    typo = protect(Blueprint("typo", __name__), "notes:raed")
    typo.add_url_rule("/api/typo", "typo", caller)
    app.register_blueprint(typo)

    (problem,) = unknown_scopes(app, app.extensions["valetkey"].settings.scopes)
    assert "'notes:raed'" in problem and "did you mean 'notes:read'?" in problem


@pytest.fixture
def denying(make_app: MakeApp, sqlite_store_url: str) -> Browser:
    """An app with ``protect_by_default`` and undecorated routes."""
    app = make_app(sqlite_store_url, protect_by_default=True)
    app.add_url_rule("/api/forgotten", "forgotten", caller)
    app.add_url_rule("/api/partial", "partial", functools.partial(require_oauth("notes:read")(caller)))
    app.add_url_rule("/page", "page", caller)
    app.add_url_rule("/both", "both", caller)
    app.add_url_rule("/api/both", "both")
    app.add_url_rule("/api/mixed", view_func=Mixed.as_view("mixed"))
    app.add_url_rule("/apiary", "apiary", caller)
    return Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )


@pytest.mark.parametrize("path", ["/api/forgotten", "/api/both", "/api/mixed"])
def test_an_undecorated_route_denies_all_calls(denying: Browser, path: str) -> None:
    assert denying.call(None, path).status_code == 401
    refused = denying.call(token(denying, "notes:read"), path)
    assert (refused.status_code, refused.mimetype) == (403, "application/problem+json")
    assert "neither @require_oauth nor @public" in refused.json["detail"]


def test_decorated_routes_and_routes_outside_the_prefix_stay_accessible(denying: Browser) -> None:
    assert denying.call(None, "/api/public").status_code == 200
    assert denying.call(token(denying, "profile")).status_code == 200
    assert denying.call(token(denying, "notes:read"), "/api/partial").status_code == 200
    assert [denying.call(None, path).status_code for path in ("/page", "/both", "/apiary")] == [200] * 3
    assert denying.http.delete("/api/mixed").status_code == 200
    assert denying.http.options("/api/forgotten").status_code == 200


def test_without_protect_by_default_undecorated_routes_stay_accessible(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url)
    app.add_url_rule("/api/forgotten", "forgotten", caller)

    assert app.test_client().get("/api/forgotten").status_code == 200


def test_the_log_names_all_undecorated_routes_once_at_the_first_request(
    denying: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        denying.call(None, "/api/public")

    (message,) = [record.message for record in caplog.records if "no protection is declared" in record.message]
    assert "/api/both, /api/forgotten, /api/mixed:" in message
    assert message.endswith("until then, calls are denied")


PROGRAM = """
from flask import Blueprint, Flask
from valetkey import Valetkey, protect

app = Flask(__name__)
Valetkey(app, scopes={"notes:read": "Read"}, protect_by_default=True)
notes = protect(Blueprint("notes", __name__, url_prefix="/api/notes"), "notes:read")


@notes.get("/all")
def every():
    return []


@app.get("/api/forgotten")
def forgotten():
    return []


@app.get("/<path:page>")
def pages(page):
    return page


@app.get("/files/<path:name>")
def files(name):
    return name


app.register_blueprint(notes)
"""


def test_the_check_command_reports_denied_routes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from valetkey.cli import main

    (tmp_path / "program.py").write_text(PROGRAM)

    result = CliRunner().invoke(
        main, ["--app", str(tmp_path / "program.py"), "--data-dir", str(tmp_path / "var"), "check"]
    )

    assert result.exit_code == 0, result.output
    assert "/api/forgotten has neither @public nor @require_oauth: add one; calls are denied" in result.output
    assert "/<path:page> can match URLs below /api too" in result.output
    assert "/files" not in result.output
    assert "/api/notes/all" not in result.output and "no route uses" not in result.output
