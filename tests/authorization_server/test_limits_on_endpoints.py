"""Limits on the OAuth endpoints. Each client has its own budget, so that one client cannot block the others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable

LIMITS = dict.fromkeys(("token_limit", "introspection_limit", "revocation_limit", "userinfo_limit"), "3/minute burst 3")


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, **LIMITS)


def register_machine(app: Flask, register: Register, name: str) -> Browser:
    return Browser(app.test_client(), register("machine", name=name))


def send_request(browser: Browser, path: str) -> Any:
    if path == "/oauth/token":
        return browser.request_token("client_credentials")
    return browser.post(path, token="unknown")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_a_client_over_its_limit_does_not_affect_other_clients(app: Flask, register: Register, path: str) -> None:
    limited, other = register_machine(app, register, "Limited"), register_machine(app, register, "Other")

    responses = [send_request(limited, path) for _ in range(5)]

    assert [response.status_code for response in responses] == [200] * 3 + [429] * 2
    assert responses[3].json["error"] == "too_many_requests"
    assert responses[3].headers["Retry-After"] == "20"
    assert send_request(other, path).status_code == 200


def test_a_public_client_has_a_budget_for_each_network(app: Flask, register: Register) -> None:
    browser = Browser(app.test_client(), register("native", name="Phone app", redirect_uris=["app.example:/back"]))

    def redeem_from(address: str) -> int:
        form = {"grant_type": "authorization_code", "code": "x", "client_id": browser.client.client_id}
        response = browser.http.post("/oauth/token", data=form, environ_overrides={"REMOTE_ADDR": address})
        return response.status_code

    assert [redeem_from("192.0.2.1") for _ in range(4)] == [400, 400, 400, 429]
    assert redeem_from("192.0.2.2") == 400


def test_failed_authentication_does_not_use_up_the_limit_of_the_client(app: Flask, register: Register) -> None:
    machine = register_machine(app, register, "Robot")
    for _ in range(10):
        response = app.test_client().post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(machine.client.client_id, "guess")
        )
        assert response.status_code == 401

    assert machine.request_token("client_credentials").status_code == 200


def test_userinfo_and_limits_share_one_budget(app: Flask, ada: Browser) -> None:
    tokens = ada.obtain_tokens(scope=("openid", "profile"))

    statuses = [ada.call(tokens["access_token"], "/oauth/userinfo").status_code for _ in range(4)]

    assert statuses == [200, 200, 200, 429]
    assert ada.call(tokens["access_token"], "/oauth/limits").status_code == 429


def test_tokens_are_issued_while_the_counter_backend_is_unavailable(
    app: Flask, runtime: Runtime, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = register_machine(app, register, "Robot")

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(runtime.limits._limiter._counters, "_counters", type("Down", (), {"spend": down})())

    assert [machine.request_token("client_credentials").status_code for _ in range(5)] == [200] * 5


def test_the_default_limits_allow_what_one_client_of_a_benchmark_sends(make_app: MakeApp, store_url: str) -> None:
    """The benchmark's 16 clients send 10,000 requests per second together, from one address."""
    runtime: Runtime = make_app(store_url).extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Robot", policy="machine")

    for number in range(5 * 700):
        runtime.limits.charge("token_limit", client.client_id, now=runtime.clock() + number / 700)
