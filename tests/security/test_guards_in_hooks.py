"""``require_oauth`` in a ``before_request`` function: for all routes of the app, not for Valetkey's own."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from valetkey import require_oauth
from valetkey.authorization_server.clients.service import CreatedClient

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url, docs_path="/docs")
    app.before_request(require_oauth("profile")(lambda: None))
    app.add_url_rule("/valetkey_", "valetkey_oauth", lambda: "of the app")
    app.add_url_rule("/own", "own", lambda: "of the app")
    return app


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def browser(http: FlaskClient, shop: CreatedClient) -> Browser:
    return Browser(http, shop)


@pytest.mark.parametrize("path", ["/own", "/valetkey_", "/nowhere", "/static/nothing.css"])
def test_a_hook_requires_a_token_for_all_routes_of_the_app(http: FlaskClient, path: str) -> None:
    assert http.get(path).status_code == 401


@pytest.mark.parametrize("path", [METADATA, "/.well-known/oauth-protected-resource", "/oauth/jwks", "/account/sign-in"])
def test_a_hook_does_not_apply_to_valetkeys_own_endpoints(http: FlaskClient, path: str) -> None:
    assert http.get(path).status_code == 200


def test_a_user_can_sign_in_and_allow_an_app_that_calls_the_route(browser: Browser) -> None:
    assert browser.sign_up().status_code == 303
    tokens = browser.obtain_tokens()

    assert browser.http.get("/own", headers={"Authorization": f"Bearer {tokens['access_token']}"}).text == "of the app"


def test_a_token_for_another_scope_is_refused(browser: Browser) -> None:
    browser.sign_up()
    token = browser.obtain_tokens(scope=("notes:write",))["access_token"]

    assert browser.http.get("/own", headers={"Authorization": f"Bearer {token}"}).status_code == 403


@pytest.mark.parametrize("keeps_attributes", [True, False])
def test_a_guard_that_the_app_puts_around_a_page_of_valetkey_applies(
    app: Flask, http: FlaskClient, *, keeps_attributes: bool
) -> None:
    endpoint = next(rule.endpoint for rule in app.url_map.iter_rules() if rule.rule == "/docs")
    guarded = require_oauth(app.view_functions[endpoint])

    def without_attributes(**values: Any) -> Any:
        return guarded(**values)

    assert http.get("/docs").status_code == 200
    app.view_functions[endpoint] = guarded if keeps_attributes else without_attributes

    assert http.get("/docs").status_code == 401
