"""The OAuth endpoints have limits too: of each client, so that a loud one stops nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conftest import MakeApp, Register
from tests.support.browser_client import Browser
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable

LIMITS = dict.fromkeys(("token_limit", "introspection_limit", "revocation_limit", "userinfo_limit"), "3/minute burst 3")


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, **LIMITS)


def machine(app: Flask, register: Register, name: str) -> Browser:
    return Browser(app.test_client(), register("machine", name=name))


def ask(browser: Browser, path: str) -> Any:
    if path == "/oauth/token":
        return browser.request_token("client_credentials")
    return browser.post(path, token="unknown")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_a_loud_client_is_told_to_wait_and_nobody_else_is(app: Flask, register: Register, path: str) -> None:
    loud, quiet = machine(app, register, "Loud"), machine(app, register, "Quiet")

    answers = [ask(loud, path) for _ in range(5)]

    assert [one.status_code for one in answers] == [200] * 3 + [429] * 2
    assert answers[3].json["error"] == "temporarily_unavailable"
    assert answers[3].headers["Retry-After"] == "20"
    assert ask(quiet, path).status_code == 200


def test_a_public_client_is_many_people_and_each_network_counts_by_itself(app: Flask, register: Register) -> None:
    browser = Browser(app.test_client(), register("native", name="Phone app", redirect_uris=["app.example:/back"]))

    def ask_from(address: str) -> int:
        sent = {"grant_type": "authorization_code", "code": "x", "client_id": browser.client.client_id}
        answer = browser.http.post("/oauth/token", data=sent, environ_overrides={"REMOTE_ADDR": address})
        return answer.status_code

    assert [ask_from("192.0.2.1") for _ in range(4)] == [400, 400, 400, 429]
    assert ask_from("192.0.2.2") == 400


def test_whoever_cannot_prove_to_be_a_client_does_not_use_up_its_limit(app: Flask, register: Register) -> None:
    robot = machine(app, register, "Robot")
    for _ in range(10):
        answer = app.test_client().post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(robot.client.client_id, "guess")
        )
        assert answer.status_code == 401

    assert robot.request_token("client_credentials").status_code == 200


def test_userinfo_and_limits_count_for_each_user_of_an_app(app: Flask, ada: Browser) -> None:
    tokens = ada.obtain_tokens(scope=("openid", "profile"))

    statuses = [ada.call(tokens["access_token"], "/oauth/userinfo").status_code for _ in range(4)]

    assert statuses == [200, 200, 200, 429]
    assert ada.call(tokens["access_token"], "/oauth/limits").status_code == 429


def test_tokens_are_given_while_nobody_can_count(
    app: Flask, runtime: Runtime, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = machine(app, register, "Robot")

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(runtime.limiter._counters, "_counters", type("Down", (), {"spend": down})())

    assert [robot.request_token("client_credentials").status_code for _ in range(5)] == [200] * 5


def test_the_usual_limits_are_beyond_what_one_client_of_a_benchmark_does(make_app: MakeApp, store_url: str) -> None:
    """16 clients at 10,000 requests a second together, from one address."""
    runtime: Runtime = make_app(store_url).extensions["valetkey"]
    made = register_client(runtime, name="Robot", policy="machine")

    for n in range(5 * 700):
        runtime.charge("token_limit", made.client_id, runtime.clock() + n / 700)
