"""``protect`` for whole blueprints, and ``protect_by_default``: the truth about a route stays in one place."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_restful import Api, Resource

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from valetkey import current_token, protect, public, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.cli.check import undecorated_routes, unknown_scopes
from valetkey.resource_server.routes import iter_routes


def answer() -> Any:
    return jsonify(client=current_token.client_id if current_token else None)


@public
def open_to_all() -> Any:
    return answer()


@require_oauth("notes:write")
def needs_write() -> Any:
    return answer()


class Mixed(MethodView):
    def get(self) -> Any:
        return answer()

    @require_oauth("notes:write")
    def post(self) -> Any:
        return answer()

    @public
    def delete(self) -> Any:
        return answer()


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
        target.add_url_rule(f"/{name}", name, lambda: answer())
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
    return Browser(app.test_client(), register_client(app.extensions["valetkey"], name="Robot", policy="machine"))


def token(api: Browser, scope: str) -> str:
    return str(api.request_token("client_credentials", scope=scope).json["access_token"])


@pytest.mark.parametrize("path", ["outer", "inner", "later", "rest", "mixed"])
def test_every_view_of_the_blueprint_needs_the_scope(api: Browser, path: str) -> None:
    assert api.call(None, f"/api/{path}").status_code == 401
    assert api.call(token(api, "profile"), f"/api/{path}").status_code == 403
    # In a thread of its own: an async view wants one without an event loop, which a browser test leaves in this one.
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(api.call, token(api, "notes:read"), f"/api/{path}").result()
    assert answer.status_code == 200


def test_what_a_view_says_itself_wins(api: Browser) -> None:
    assert api.call(None, "/api/open").status_code == 200
    assert api.call(token(api, "notes:read"), "/api/write").status_code == 403
    assert api.call(token(api, "notes:write"), "/api/write").status_code == 200


def test_a_blueprint_inside_may_ask_for_something_else(api: Browser) -> None:
    assert api.call(token(api, "notes:read"), "/api/own").status_code == 403
    assert api.call(token(api, "notes:write"), "/api/own").status_code == 200


def test_a_class_of_views_is_guarded_where_its_methods_say_nothing(api: Browser) -> None:
    headers = {"Authorization": f"Bearer {token(api, 'notes:write')}"}

    assert api.http.head("/api/mixed").status_code == 401
    assert api.http.get("/api/mixed", headers=headers).status_code == 403
    assert api.http.post("/api/mixed", headers=headers).status_code == 200
    assert api.http.delete("/api/mixed").status_code == 200


def test_the_blueprints_limit_is_told_with_each_answer(api: Browser) -> None:
    assert "RateLimit" in api.call(token(api, "notes:read"), "/api/outer").headers


def test_whoever_reads_the_routes_sees_what_the_blueprint_asks(api: Browser) -> None:
    app = api.http.application

    asked = {(route.path, *route.methods): route.scopes for route in iter_routes(app) if route.path.startswith("/api")}

    assert asked["/api/outer", "GET"] == asked["/api/rest", "GET"] == asked["/api/mixed", "GET"] == {"notes:read"}
    assert asked["/api/own", "GET"] == asked["/api/mixed", "POST"] == {"notes:write"}
    assert asked["/api/mixed", "DELETE"] == asked["/api/open", "GET"] == frozenset()
    assert list(undecorated_routes(app, app.extensions["valetkey"].settings)) == []


def test_the_guards_are_put_up_once_however_often_routes_are_read(api: Browser) -> None:
    app = api.http.application
    before = [*iter_routes(app)] and dict(app.view_functions)

    list(iter_routes(app))

    assert app.view_functions == before


def test_a_scope_that_cannot_be_read_is_told_where_it_stands() -> None:
    with pytest.raises(ValueError, match="burst"):
        protect(Blueprint("b", __name__), "notes:read", limit="often")
    with pytest.raises(ValueError, match="at least one scope"):
        protect(Blueprint("b", __name__), [])


def test_a_scope_of_a_blueprint_that_nobody_can_grant_is_told(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    typo = protect(Blueprint("typo", __name__), "notes:raed")
    typo.add_url_rule("/api/typo", "typo", answer)
    app.register_blueprint(typo)

    assert "notes:raed" in "".join(unknown_scopes(app, app.extensions["valetkey"].settings))


@pytest.fixture
def closed(make_app: MakeApp, sqlite_store_url: str) -> Browser:
    """An app that protects by default, with routes that nobody decided about."""
    app = make_app(sqlite_store_url, protect_by_default=True)
    app.add_url_rule("/api/forgotten", "forgotten", answer)
    app.add_url_rule("/page", "page", answer)
    app.add_url_rule("/both", "both", answer)
    app.add_url_rule("/api/both", "both")
    app.add_url_rule("/api/mixed", view_func=Mixed.as_view("mixed"))
    app.add_url_rule("/apiary", "apiary", answer)
    return Browser(app.test_client(), register_client(app.extensions["valetkey"], name="Robot", policy="machine"))


@pytest.mark.parametrize("path", ["/api/forgotten", "/api/both", "/api/mixed"])
def test_a_route_that_nobody_decided_about_is_closed_to_everybody(closed: Browser, path: str) -> None:
    assert closed.call(None, path).status_code == 401
    refused = closed.call(token(closed, "notes:read"), path)
    assert (refused.status_code, refused.mimetype) == (403, "application/problem+json")
    assert "publisher" in refused.json["detail"]


def test_what_was_decided_about_and_what_is_elsewhere_stays_open(closed: Browser) -> None:
    assert closed.call(None, "/api/public").status_code == 200
    assert closed.call(token(closed, "profile")).status_code == 200
    assert [closed.call(None, path).status_code for path in ("/page", "/both", "/apiary")] == [200] * 3
    assert closed.http.delete("/api/mixed").status_code == 200
    assert closed.http.options("/api/forgotten").status_code == 200


def test_without_the_setting_the_routes_stay_open(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.add_url_rule("/api/forgotten", "forgotten", answer)

    assert app.test_client().get("/api/forgotten").status_code == 200


def test_the_log_names_all_undecided_routes_in_one_sentence_at_the_first_dispatch(
    closed: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        closed.call(None, "/api/public")

    (told,) = [record.message for record in caplog.records if "nothing says who may call" in record.message]
    assert "/api/both, /api/forgotten, /api/mixed:" in told
    assert told.endswith("until then, calls are denied")


def test_the_routes_know_that_they_are_closed(closed: Browser) -> None:
    closed.call(None, "/api/public")

    shut = {(route.path, *route.methods) for route in iter_routes(closed.http.application) if route.is_denied}

    assert {("/api/forgotten", "GET"), ("/api/mixed", "GET")} <= shut
    assert ("/api/mixed", "POST") not in shut and ("/api/public", "GET") not in shut


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


app.register_blueprint(notes)
"""


def test_the_check_command_tells_what_is_closed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from valetkey.cli import main

    for name in ("VALETKEY_APP", "VALETKEY_DATA_DIR", "_VALETKEY_LAST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("valetkey.settings.sources._COMMAND_VALUES", ({}, {}))
    (tmp_path / "program.py").write_text(PROGRAM)

    told = CliRunner().invoke(
        main, ["--app", str(tmp_path / "program.py"), "--data-dir", str(tmp_path / "var"), "check"]
    )

    assert told.exit_code == 0, told.output
    assert "/api/forgotten says neither @public nor @require_oauth, and is closed" in told.output
    assert "/api/notes/all" not in told.output and "no route uses" not in told.output
