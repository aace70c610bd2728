"""Flask-WTF's ``CSRFProtect``: calls with a required access token are exempt, all other requests are not."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView
from flask_wtf import CSRFProtect, FlaskForm
from wtforms import StringField

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from valetkey import protect, public, require_oauth
from valetkey.authorization_server.clients.service import register_client


class NoteForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    text = StringField()


def store() -> Any:
    return jsonify(stored=True)


class Notes(MethodView):
    @require_oauth("notes:read")
    def post(self) -> Any:
        return store()

    def put(self) -> Any:
        return store()


def store_form() -> Any:
    return jsonify(stored=NoteForm().validate_on_submit())


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url)
    app.config["SECRET_KEY"] = "of the test"
    CSRFProtect(app)
    blueprint = protect(Blueprint("protected", __name__), "notes:read")
    for path, view in {
        "required": require_oauth("notes:read")(store),
        "form": require_oauth("notes:read")(store_form),
        "optional": require_oauth(optional=True)(store),
        "public": public(store),
        "limited": public(limit="9/minute")(store),
        "undecorated": store,
    }.items():
        app.add_url_rule(f"/api/{path}", path, view, methods=["POST"])
    blueprint.add_url_rule("/api/blueprint", "store", store, methods=["POST"])
    app.register_blueprint(blueprint)
    app.add_url_rule("/api/class", view_func=Notes.as_view("class"))
    return app


@pytest.fixture
def token(app: Flask) -> str:
    robot = Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="R", policy="machine"),
    )
    return str(robot.request_token("client_credentials", scope="notes:read").json["access_token"])


@pytest.mark.parametrize("path", ["required", "blueprint", "class", "form"])
def test_a_call_with_a_required_token_needs_no_csrf_token(app: Flask, token: str, path: str) -> None:
    response = app.test_client().post(f"/api/{path}", headers={"Authorization": f"bearer {token}"})

    assert (response.status_code, response.json) == (200, {"stored": True}), response.text


@pytest.mark.parametrize("path", ["optional", "public", "limited", "undecorated"])
def test_a_view_that_requires_no_token_needs_a_csrf_token(app: Flask, token: str, path: str) -> None:
    response = app.test_client().post(f"/api/{path}", headers={"Authorization": f"Bearer {token}"})

    assert (response.status_code, "CSRF" in response.text) == (400, True)


def test_an_undecorated_method_of_a_class_needs_a_csrf_token(app: Flask, token: str) -> None:
    assert app.test_client().put("/api/class", headers={"Authorization": f"Bearer {token}"}).status_code == 400


@pytest.mark.parametrize("authorization", [None, "Basic eDp5", "Bearer", "Bearer "])
def test_a_request_without_a_bearer_token_is_not_exempt(app: Flask, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    response = app.test_client().post("/api/required", headers=headers)

    assert (response.status_code, "CSRF" in response.text) == (400, True)


def test_an_invalid_token_is_refused_by_the_guard(app: Flask) -> None:
    response = app.test_client().post("/api/required", headers={"Authorization": "Bearer bad"})

    assert (response.status_code, response.json["error"]) == (401, "invalid_token")
