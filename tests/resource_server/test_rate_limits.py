"""``RateLimit``: groups, budgets per user, client or address, and calls while the counters are unavailable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import http_sf
import pytest
from flask import Flask, jsonify
from werkzeug.test import TestResponse

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser, sign_in_new_account
from tests.support.clock import Clock
from valetkey import RateLimit, public, require_oauth
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.runtime import Runtime
from valetkey.storage.engine.circuit_breaker import CircuitBreaker
from valetkey.storage.engine.transaction import StoreUnavailable


def add(app: Flask, path: str, limit: Any, decorate: Callable[..., Any] = require_oauth, **options: Any) -> None:
    view = decorate(limit=limit, **options)(lambda: jsonify(ok=True))
    app.add_url_rule(path, path.strip("/").replace("/", "_"), view)


def statuses(call: Callable[[], TestResponse], times: int) -> list[int]:
    return [call().status_code for _ in range(times)]


def test_the_routes_of_a_group_share_one_budget(app: Flask, ada: Browser) -> None:
    for path in ("/api/one", "/api/two"):
        add(app, path, RateLimit("3/minute burst 3", group="search"))
    token = ada.obtain_tokens()["access_token"]

    calls = [ada.call(token, path) for path in ("/api/one", "/api/two") * 2]

    assert [call.status_code for call in calls] == [200, 200, 200, 429]
    assert calls[0].headers["RateLimit-Policy"] == '"search";q=3;w=60'
    assert calls[3].json["violated-policies"] == ["search"]


def test_a_budget_per_app_is_shared_by_all_users_of_the_client(app: Flask, ada: Browser, runtime: Runtime) -> None:
    add(app, "/api/app", RateLimit("2/minute burst 2", per="app"))
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")
    tokens = [browser.obtain_tokens()["access_token"] for browser in (ada, eve)]

    assert [ada.call(tokens[n % 2], "/api/app").status_code for n in range(3)] == [200, 200, 429]


def test_a_budget_per_address_is_shared_by_all_clients(app: Flask, ada: Browser, register: Register) -> None:
    add(app, "/api/address", RateLimit("2/minute burst 2", per="address"))
    tokens = [
        Browser(ada.http, register(name=name)).obtain_tokens()["access_token"] for name in ("First", "Second", "Third")
    ]

    def call(token: str, address: str) -> int:
        return ada.call(token, "/api/address", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [call(token, "2001:db8::1") for token in tokens] == [200, 200, 429]
    assert call(tokens[0], "2001:db8:0:1::1") == 200


Kill = Callable[[], None]


@pytest.fixture
def kill(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Kill:
    """Function that makes the counters unreachable: there is no Redis at that address."""
    circuit, unreachable = (
        runtime.admission.limiter._counters,
        RedisCounters("redis://127.0.0.1:1/0", "https://api.example"),
    )
    return lambda: monkeypatch.setattr(circuit, "_counters", unreachable)


def test_a_limit_that_fails_closed_responds_503_at_once(app: Flask, ada: Browser, kill: Kill) -> None:
    add(app, "/api/closed", RateLimit("2/minute burst 2"))
    token = ada.obtain_tokens()["access_token"]
    kill()
    started_at = time.monotonic()

    calls = [ada.call(token, "/api/closed") for _ in range(20)]

    assert {call.status_code for call in calls} == {503}
    assert {call.headers["Retry-After"] for call in calls} == {"2"}
    assert time.monotonic() - started_at < 2


def test_a_limit_that_fails_open_allows_all_calls_without_rate_limit_fields(
    app: Flask, ada: Browser, clock: Clock, kill: Kill, caplog: pytest.LogCaptureFixture
) -> None:
    add(app, "/api/open", RateLimit("2/minute burst 2", fail="open"))
    token = ada.obtain_tokens()["access_token"]
    kill()
    caplog.set_level(logging.ERROR)

    calls = [ada.call(token, "/api/open") for _ in range(20)]

    assert {call.status_code for call in calls} == {200}
    assert not any("RateLimit" in call.headers for call in calls)
    assert caplog.text.count("calls are allowed without being counted") == 1
    clock.forward(1)
    ada.call(token, "/api/open")
    assert caplog.text.count("calls are allowed without being counted") == 2


def test_calls_are_counted_again_when_the_counters_are_back(
    app: Flask, ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(app, "/api/open", RateLimit("2/minute burst 2", fail="open"))
    token = ada.obtain_tokens()["access_token"]
    circuit, breaker_clock = runtime.admission.limiter._counters, Clock(0)
    monkeypatch.setattr(circuit, "_breaker", CircuitBreaker("the counters", breaker_clock))

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    with monkeypatch.context() as outage:
        outage.setattr(circuit._counters, "spend", down)
        assert ada.call(token, "/api/open").status_code == 200
    breaker_clock.forward(1)

    assert statuses(lambda: ada.call(token, "/api/open"), 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": "often"}, "100/minute"),
        ({"limit": RateLimit}, "100/minute"),
        ({"limit": {}}, "at least one plan"),
        ({"limit": "1/minute", "group": 'say "hi"'}, "group"),
        ({"limit": "1/minute", "per": "token"}, "per must be"),
        ({"limit": "1/minute", "fail": "never"}, "fail must be"),
    ],
)
def test_an_invalid_rate_limit_raises_when_it_is_created(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateLimit(**arguments)


def test_a_cost_above_the_burst_raises_when_the_view_is_decorated() -> None:
    with pytest.raises(ValueError, match="every call would be refused"):
        require_oauth(limit={"free": "10/minute", "pro": "100/minute"}, cost=5)
    with pytest.raises(ValueError, match="no plan"):
        public(limit={"free": "10/minute"})(lambda: "")  # type: ignore[call-overload]  # wrong on purpose


def parse_field(call: TestResponse, field: str) -> dict[str, dict[str, int]]:
    """Parse a header field with an independent parser of structured fields (RFC 9651)."""
    parsed: Any = http_sf.parse(call.headers[field].encode(), tltype="list")
    return {name: dict(parameters) for name, parameters in parsed}


def test_a_caller_that_ignores_429_does_not_fill_the_log(
    app: Flask, ada: Browser, clock: Clock, clean_log: pytest.LogCaptureFixture
) -> None:
    """Of the calls that are refused within a second, one has a log line; the others have theirs at level DEBUG."""
    add(app, "/api/limited", "1/hour burst 1")
    token = ada.obtain_tokens()["access_token"]
    clean_log.set_level(logging.DEBUG, "valetkey")

    refused = [ada.call(token, "/api/limited") for _ in range(11)][1:]
    clock.forward(1.1)
    refused += [ada.call(token, "/api/limited") for _ in range(10)]

    assert {call.status_code for call in refused} == {429}
    lines = [record for record in clean_log.records if "too_many_requests" in record.getMessage()]
    assert [getattr(line, "reference", "") for line in lines] == [call.json["reference"] for call in refused]
    assert [line.levelno for line in lines] == 2 * [logging.INFO, *9 * [logging.DEBUG]]


def test_the_fields_agree_with_each_other_and_with_retry_after(app: Flask, ada: Browser, clock: Clock) -> None:
    add(app, "/api/fields", RateLimit("100/minute burst 3", group="two words"))
    token = ada.obtain_tokens()["access_token"]

    refused = 0
    for _ in range(8):
        call = ada.call(token, "/api/fields")
        policy, now = (
            parse_field(call, "RateLimit-Policy")["two words"],
            parse_field(call, "RateLimit")["two words"],
        )
        assert policy == {"q": 100, "w": 60}
        assert set(now) == {"r", "t"}
        if call.status_code == 429:
            refused += 1
            assert now["r"] == 0
            assert int(call.headers["Retry-After"]) == now["t"] == 1
        clock.forward(0.1)

    assert refused > 2


@pytest.mark.parametrize(
    ("style", "fields"),
    [
        ("ietf", {"RateLimit", "RateLimit-Policy"}),
        ("legacy", {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}),
        ("off", set()),
    ],
)
def test_a_setting_decides_which_fields_a_response_has(
    make_app: MakeApp, sqlite_store_url: str, style: str, fields: set[str], clock: Clock
) -> None:
    app = make_app(sqlite_store_url, rate_limit_fields=style)
    add(app, "/api/open", "60/minute burst 1", public)
    both = make_app(sqlite_store_url, rate_limit_fields="both")
    add(both, "/api/open", "60/minute burst 1", public)

    first, second = app.test_client().get("/api/open"), app.test_client().get("/api/open")
    third = both.test_client().get("/api/open")

    assert {name for name in dict(first.headers) if "RateLimit" in name} == fields
    assert second.headers["Retry-After"] == "1"
    assert fields < {name for name in dict(third.headers) if "RateLimit" in name}
    if style == "legacy":
        assert [second.headers[name] for name in sorted(fields)] == ["60", "0", str(int(clock.time) + 1)]
