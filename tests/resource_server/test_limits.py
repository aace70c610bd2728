"""Limits of routes per user of a client, or per network; the RateLimit fields and Retry-After."""

from __future__ import annotations

from flask import Flask, abort, jsonify

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser, sign_in_new_account
from tests.support.clock import Clock
from valetkey import public, require_oauth
from valetkey.runtime import Runtime


def add_limited(app: Flask) -> None:
    app.add_url_rule("/api/twice", "twice", require_oauth(limit="2/minute burst 2")(lambda: jsonify(ok=True)))
    app.add_url_rule(
        "/api/expensive", "expensive", require_oauth(limit="10/minute burst 10", cost=6)(lambda: jsonify(ok=True))
    )
    app.add_url_rule("/api/open", "open", public(limit="2/minute burst 2")(lambda: jsonify(ok=True)))
    app.add_url_rule("/api/broken", "broken", public(limit="2/minute burst 2")(lambda: abort(404)))


def test_a_call_over_the_limit_gets_429_with_the_time_to_retry(app: Flask, ada: Browser, clock: Clock) -> None:
    add_limited(app)
    token = ada.obtain_tokens()["access_token"]
    calls = [ada.call(token, "/api/twice") for _ in range(3)]

    assert [call.status_code for call in calls] == [200, 200, 429]
    assert [call.headers["RateLimit-Policy"] for call in calls] == ['"default";q=2;w=60'] * 3
    assert [call.headers["RateLimit"] for call in calls] == [
        f'"default";r={r};t={t}' for r, t in ((1, 30), (0, 60), (0, 30))
    ]
    assert calls[2].headers["Retry-After"] == "30"
    assert calls[2].headers["Content-Type"] == "application/problem+json"
    assert calls[2].json["title"] == "Too Many Requests"
    assert "Retry-After" not in calls[0].headers
    clock.forward(seconds=30)
    assert ada.call(token, "/api/twice").status_code == 200


def test_a_new_token_does_not_start_a_new_budget(app: Flask, ada: Browser) -> None:
    add_limited(app)

    statuses = [ada.call(ada.obtain_tokens()["access_token"], "/api/twice").status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


def test_each_user_of_each_client_has_a_separate_budget(
    app: Flask, ada: Browser, register: Register, runtime: Runtime
) -> None:
    add_limited(app)
    other_app = Browser(ada.http, register(name="Other"))
    other_user = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    for browser in (ada, other_app, other_user):
        token = browser.obtain_tokens()["access_token"]
        assert [browser.call(token, "/api/twice").status_code for _ in range(3)] == [200, 200, 429]


def test_calls_without_a_valid_token_spend_nothing(app: Flask, ada: Browser) -> None:
    add_limited(app)
    for _ in range(5):
        assert ada.call("bad", "/api/twice").status_code == 401
        assert "RateLimit" not in ada.call(None, "/api/twice").headers

    assert ada.call(ada.obtain_tokens()["access_token"], "/api/twice").headers["RateLimit"] == '"default";r=1;t=30'


def test_a_call_with_a_cost_counts_as_several_calls(app: Flask, ada: Browser) -> None:
    add_limited(app)
    token = ada.obtain_tokens()["access_token"]

    assert [ada.call(token, "/api/expensive").status_code for _ in range(2)] == [200, 429]


def test_a_public_route_is_limited_by_network(app: Flask, ada: Browser) -> None:
    add_limited(app)

    def call(address: str) -> int:
        return ada.http.get("/api/open", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [call("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert call("192.0.2.2") == 200
    assert [call(f"2001:db8::{n}") for n in range(1, 4)] == [200, 200, 429], "an IPv6 /64 network is one caller"
    assert call("2001:db8:0:1::1") == 200


def test_an_error_of_the_view_has_the_rate_limit_fields_too(app: Flask, ada: Browser) -> None:
    add_limited(app)

    failed = ada.get("/api/broken")

    assert failed.status_code == 404
    assert failed.headers["RateLimit"] == '"default";r=1;t=30'


def test_workers_share_one_budget(make_app: MakeApp, store_url: str) -> None:
    apps = [make_app(store_url) for _ in range(2)]
    for app in apps:
        add_limited(app)
    clients = [app.test_client() for app in apps]

    statuses = [clients[n % 2].get("/api/open").status_code for n in range(4)]

    assert statuses == [200, 200, 429, 429]


def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(make_app: MakeApp, store_url: str) -> None:
    """RFC 9700 §4.13."""
    trusting = make_app(store_url, trusted_proxies=("127.0.0.0/8",))
    add_limited(trusting)
    http = trusting.test_client()

    def call(forwarded: str, remote: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        return http.get("/api/open", headers=headers, environ_overrides={"REMOTE_ADDR": remote}).status_code

    assert [call(f"192.0.2.{n}", "127.0.0.1") for n in range(3)] == [200] * 3
    assert [call(f"192.0.2.{n}", "198.51.100.1") for n in range(3)] == [200, 200, 429]
