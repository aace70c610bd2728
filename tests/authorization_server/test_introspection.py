"""Introspection (RFC 7662): what a token is, for those who may know."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import Register
from tests.support.browser_client import EMAIL, ISSUER, Browser, Clock, assert_store_unchanged
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction


@pytest.fixture
def api(app: Flask, register: Register) -> Browser:
    """A service that answers API calls elsewhere."""
    return Browser(app.test_client(), register("machine", name="API"))


def test_an_api_learns_what_a_token_that_came_to_it_is(ada: Browser, api: Browser, clock: Clock) -> None:
    answer = ada.obtain_tokens()

    told = api.introspect(answer["access_token"])

    assert told.status_code == 200
    assert told.headers["Cache-Control"] == "no-store"
    assert told.json["active"] is True
    assert (told.json["iss"], told.json["aud"], told.json["scope"]) == (ISSUER, ISSUER, "profile")
    assert told.json["client_id"] == ada.client.client_id
    assert told.json["exp"] == int(clock()) + 900
    assert told.json["token_type"] == "Bearer"
    assert {"sub", "iat", "jti"} <= told.json.keys()
    assert EMAIL not in told.text


@pytest.mark.parametrize("shown", [" {}", "{} ", "{} {}", "Bearer {}"])
def test_a_token_with_something_around_it_is_another_text(ada: Browser, api: Browser, shown: str) -> None:
    value = ada.obtain_tokens()["access_token"]
    assert ada.call(value).status_code == 200

    assert api.introspect(shown.format(value, value)).json == {"active": False}


def test_a_client_learns_of_its_own_tokens(ada: Browser) -> None:
    answer = ada.obtain_tokens()

    assert ada.introspect(answer["access_token"]).json["active"] is True
    refresh = ada.introspect(answer["refresh_token"]).json
    assert (refresh["active"], refresh["scope"]) == (True, "profile")
    assert "token_type" not in refresh


def test_a_web_app_learns_nothing_of_anothers_tokens(ada: Browser, register: Register) -> None:
    other = Browser(ada.http, register(name="Other"))

    for token in list(ada.obtain_tokens().values()):
        if isinstance(token, str) and len(token) > 40:
            assert other.introspect(token).json == {"active": False}


def test_a_public_client_may_not_ask(ada: Browser, register: Register, runtime: Runtime) -> None:
    browser_app = Browser(ada.http, register("browser"))
    token = ada.obtain_tokens()["access_token"]
    with assert_store_unchanged(runtime):
        check_refusal(browser_app.introspect(token), "invalid_client", 401)


def test_nobody_may_ask_without_proof(ada: Browser) -> None:
    check_refusal(ada.http.post("/oauth/introspect", data={"token": "x"}), "invalid_client", 401)


def test_what_is_over_is_not_active(ada: Browser, api: Browser, clock: Clock) -> None:
    answer = ada.obtain_tokens()
    clock.forward(seconds=900)

    assert api.introspect(answer["access_token"]).json == {"active": False}
    ada.refresh(answer["refresh_token"])
    assert ada.introspect(answer["refresh_token"]).json == {"active": False}


def test_a_disabled_owners_tokens_are_not_active(ada: Browser, api: Browser, runtime: Runtime, clock: Clock) -> None:
    answer = ada.obtain_tokens()
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))

    assert api.introspect(answer["access_token"]).json == {"active": False}
    assert ada.introspect(answer["refresh_token"]).json == {"active": False}


def test_a_forged_token_is_not_active(ada: Browser, api: Browser) -> None:
    head, body, signature = ada.obtain_tokens()["access_token"].split(".")

    for forged in (f"{head}.{body}.", f"{head}.{body}.{'A' * len(signature)}", f"{head}.{body[:-2]}AA.{signature}"):
        assert api.introspect(forged).json == {"active": False}


def test_refresh_tokens_are_for_their_client_alone(ada: Browser, api: Browser) -> None:
    """A resource server never sees one: RFC 6749 §1.5."""
    assert api.introspect(ada.obtain_tokens()["refresh_token"]).json == {"active": False}
