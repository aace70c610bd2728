"""Token introspection (RFC 7662)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import CALLBACK, EMAIL, ISSUER, Browser
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction


@pytest.fixture
def api(app: Flask, register: Register) -> Browser:
    """A resource server: a client with the policy machine."""
    return Browser(app.test_client(), register("machine", name="API"))


def test_a_service_can_introspect_an_access_token_of_another_client(ada: Browser, api: Browser, clock: Clock) -> None:
    tokens = ada.obtain_tokens()

    response = api.introspect(tokens["access_token"])

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["active"] is True
    assert (response.json["iss"], response.json["aud"], response.json["scope"]) == (ISSUER, ISSUER, "profile")
    assert response.json["client_id"] == ada.client.client_id
    assert response.json["exp"] == int(clock()) + 900
    assert response.json["token_type"] == "Bearer"
    assert {"sub", "iat", "jti"} <= response.json.keys()
    assert EMAIL not in response.text


@pytest.mark.parametrize("template", [" {}", "{} ", "{} {}", "Bearer {}"])
def test_a_token_with_extra_characters_is_not_active(ada: Browser, api: Browser, template: str) -> None:
    value = ada.obtain_tokens()["access_token"]
    assert ada.call(value).status_code == 200

    assert api.introspect(template.format(value, value)).json == {"active": False}


def test_a_client_can_introspect_its_own_tokens(ada: Browser) -> None:
    tokens = ada.obtain_tokens()

    assert ada.introspect(tokens["access_token"]).json["active"] is True
    refresh = ada.introspect(tokens["refresh_token"]).json
    assert (refresh["active"], refresh["scope"]) == (True, "profile")
    assert "token_type" not in refresh


def test_a_web_client_cannot_introspect_tokens_of_another_client(ada: Browser, register: Register) -> None:
    other = Browser(ada.http, register(name="Other"))

    for token in list(ada.obtain_tokens().values()):
        if isinstance(token, str) and len(token) > 40:
            assert other.introspect(token).json == {"active": False}


def test_a_public_client_cannot_introspect(ada: Browser, register: Register, runtime: Runtime) -> None:
    browser_app = Browser(ada.http, register("browser"))
    token = ada.obtain_tokens()["access_token"]
    with assert_store_unchanged(runtime):
        check_refusal(browser_app.introspect(token), "invalid_client", 401)


def test_introspection_requires_client_authentication(ada: Browser) -> None:
    check_refusal(ada.http.post("/oauth/introspect", data={"token": "x"}), "invalid_client", 401)


def test_expired_and_used_tokens_are_not_active(ada: Browser, api: Browser, clock: Clock) -> None:
    tokens = ada.obtain_tokens()
    clock.forward(seconds=900)

    assert api.introspect(tokens["access_token"]).json == {"active": False}
    ada.refresh(tokens["refresh_token"])
    assert ada.introspect(tokens["refresh_token"]).json == {"active": False}


def test_tokens_of_a_disabled_owner_are_not_active(ada: Browser, api: Browser, runtime: Runtime, clock: Clock) -> None:
    tokens = ada.obtain_tokens()
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))

    assert api.introspect(tokens["access_token"]).json == {"active": False}
    assert ada.introspect(tokens["refresh_token"]).json == {"active": False}


def test_a_forged_token_is_not_active(ada: Browser, api: Browser) -> None:
    head, body, signature = ada.obtain_tokens()["access_token"].split(".")

    for forged in (f"{head}.{body}.", f"{head}.{body}.{'A' * len(signature)}", f"{head}.{body[:-2]}AA.{signature}"):
        assert api.introspect(forged).json == {"active": False}


def test_a_service_cannot_introspect_a_refresh_token_of_another_client(ada: Browser, api: Browser) -> None:
    """RFC 6749 §1.5: refresh tokens are never sent to resource servers."""
    assert api.introspect(ada.obtain_tokens()["refresh_token"]).json == {"active": False}


@pytest.mark.parametrize(
    ("members", "is_active"),
    [
        ({"introspection": "own"}, False),
        ({"introspection": "any"}, True),
        ({"introspection": "resource", "introspection_resources": ["http://127.0.0.1:8000/"]}, True),
        ({"introspection": "resource", "introspection_resources": ["https://other.example/"]}, False),
    ],
)
@pytest.mark.parametrize("policy", ["web", "machine"])
def test_the_operator_chooses_which_tokens_a_client_may_introspect(
    ada: Browser, runtime: Runtime, policy: str, members: dict[str, Any], is_active: bool
) -> None:
    uris = [CALLBACK] if policy == "web" else []
    client = register_client(runtime, runtime.clock(), name="API", policy=policy, redirect_uris=uris, members=members)
    api, tokens = Browser(ada.http, client), ada.obtain_tokens()

    assert api.introspect(tokens["access_token"]).json["active"] is is_active
    assert api.introspect(tokens["refresh_token"]).json["active"] is False
