"""A client that registers itself gets the scopes of its plan; the response names those that were left out, and why."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK
from tests.support.store_assertions import assert_store_unchanged
from valetkey import Plan
from valetkey.authorization_server.plans.service import subscribe
from valetkey.runtime import Runtime

PLANS = {"free": Plan(scopes="profile"), "pro": Plan()}
NOTICE = "not registered: notes:write (not in the plan free), flavour (unknown)"


@pytest.fixture(params=["open", "approve"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url, plans=PLANS, default_plan="free", registration_policy=request.param)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


def register(http: FlaskClient, **metadata: Any) -> TestResponse:
    return http.post("/oauth/register", json={"client_name": "Shop", "redirect_uris": [CALLBACK], **metadata})


def update(http: FlaskClient, information: dict[str, Any], **metadata: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {information['registration_access_token']}"}
    document = {"client_id": information["client_id"], "redirect_uris": [CALLBACK], **metadata}
    return http.put(information["registration_client_uri"], json=document, headers=headers)


def test_scopes_that_the_plan_does_not_include_are_left_out_and_named(http: FlaskClient) -> None:
    response = register(http, scope="profile notes:write openid flavour")

    assert response.status_code == 201
    assert response.get_json()["scope"] == "openid profile"
    assert response.get_json()["scope_notice"] == NOTICE


def test_a_registration_of_scopes_that_the_plan_does_not_include_is_refused(
    http: FlaskClient, runtime: Runtime
) -> None:
    with assert_store_unchanged(runtime):
        response = register(http, scope="notes:write")

    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_client_metadata")
    description = "scope contains only scopes that the plan free does not include"
    assert response.get_json()["error_description"] == description


def test_an_update_follows_the_plan_that_the_client_has_now(http: FlaskClient, runtime: Runtime) -> None:
    information = register(http, scope="profile").get_json()
    assert "scope_notice" not in information

    response = update(http, information, scope="profile notes:write flavour")
    assert (response.get_json()["scope"], response.get_json()["scope_notice"]) == ("profile", NOTICE)
    assert update(http, response.get_json(), scope="notes:write").status_code == 400
    subscribe(runtime, information["client_id"], "pro", runtime.clock())

    response = update(http, response.get_json(), scope="profile notes:write")
    assert response.get_json()["scope"] == "notes:write profile"
    assert "scope_notice" not in response.get_json()


def test_a_client_may_send_the_notice_back(http: FlaskClient) -> None:
    """RFC 7592 §2.2: an update contains all members of the response."""
    information = register(http, scope="profile notes:write").get_json()

    response = update(http, information, scope=information["scope"], scope_notice=information["scope_notice"])

    assert response.status_code == 200
    assert "scope_notice" not in response.get_json()
