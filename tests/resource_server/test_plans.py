"""Plans: their limits, quotas and scopes; the subscriptions of clients; usage and what remains of the limits."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import http_sf
import pytest
from flask import Flask, jsonify

from tests.support.access_tokens import access_token_of
from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser, sign_in_new_account
from tests.support.clock import Clock
from valetkey import Plan, RateLimit, SettingsError, Valetkey, public, require_oauth
from valetkey.activity.background import BackgroundThread
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.authorization_server.plans.service import SubscriptionRefused, approve, get_subscription, subscribe
from valetkey.runtime import Runtime
from valetkey.storage import quotas, usage
from valetkey.storage.engine.transaction import ConnectionLost
from valetkey.tokens.access import Access

PLANS = {
    "free": Plan(limit="60/minute burst 5", quota="8/day", scopes="profile notes:read"),
    "pro": Plan(limit="6000/minute burst 600", quota="1000/month", approval="manual"),
}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    app = make_app(store_url, plans=PLANS, default_plan="free", protect_by_default=True)

    @app.get("/api/any")
    @require_oauth
    def anything() -> Any:
        return jsonify(ok=True)

    @app.get("/api/mine/<int:number>")
    @require_oauth(limit={"free": "2/minute burst 2", "pro": "100/minute"})
    def mine(number: int) -> Any:
        return jsonify(number=number)

    return app


@pytest.fixture
def robot(register: Register) -> CreatedClient:
    return register("machine", name="Robot")


Token = Callable[..., str]


@pytest.fixture
def token(app: Flask, runtime: Runtime) -> Token:
    def of(client: CreatedClient, scope: str = "profile") -> str:
        audience = (runtime.settings.api_resource,)
        access = Access(client.client_id, frozenset(scope.split()), audience, None, runtime.clock())
        view = runtime.feed.get_view()
        return runtime.token_generator.generate_access_token(access, grant=None, feed_view=view).value

    return of


def call(app: Flask, token: str, path: str = "/api/any") -> Any:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})


def parse_field(response: Any, field: str) -> dict[str, dict[str, int]]:
    parsed: Any = http_sf.parse(response.headers[field].encode(), tltype="list")
    return {name: dict(parameters) for name, parameters in parsed}


def test_the_fields_list_the_limits_of_route_plan_and_quota(app: Flask, robot: CreatedClient, token: Token) -> None:
    response = call(app, token(robot), "/api/mine/1")

    assert parse_field(response, "RateLimit-Policy") == {
        "default": {"q": 2, "w": 60},
        "plan-free": {"q": 60, "w": 60},
        "quota-day": {"q": 8, "w": 86400},
    }
    values = parse_field(response, "RateLimit")
    assert {name: parameters["r"] for name, parameters in values.items()} == {
        "default": 1,
        "plan-free": 4,
        "quota-day": 7,
    }


def test_a_call_over_the_plans_limit_is_not_charged_to_the_route_or_the_quota(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    mine = token(robot)
    for _ in range(4):
        assert call(app, mine).status_code == 200
    assert call(app, mine, "/api/mine/1").status_code == 200
    for _ in range(5):
        refused = call(app, mine, "/api/mine/1")
        assert refused.status_code == 429
        assert refused.json["reason"] == "rate-limited"
        assert refused.json["violated-policies"] == ["plan-free"]
        assert refused.headers["Retry-After"] == str(parse_field(refused, "RateLimit")["plan-free"]["t"]) == "1"

    clock.forward(1)
    after = call(app, mine, "/api/mine/1")
    assert after.status_code == 200
    assert parse_field(after, "RateLimit")["default"]["r"] == 0, "the second of two: the refused calls were not charged"
    assert parse_field(after, "RateLimit")["quota-day"]["r"] == 2


def test_a_call_over_the_routes_limit_is_not_charged_to_the_plan(
    app: Flask, robot: CreatedClient, token: Token
) -> None:
    mine = token(robot)
    statuses = [call(app, mine, "/api/mine/1").status_code for _ in range(5)]
    assert statuses == [200, 200, 429, 429, 429]

    assert parse_field(call(app, mine), "RateLimit")["plan-free"]["r"] == 2


def test_calls_without_a_token_have_the_default_plans_route_limit_per_address(app: Flask) -> None:
    @app.get("/api/maybe")
    @require_oauth(optional=True, limit={"free": "2/minute burst 2", "pro": "100/minute"})
    def maybe() -> Any:
        return jsonify(ok=True)

    def call_from(address: str) -> int:
        return app.test_client().get("/api/maybe", environ_base={"REMOTE_ADDR": address}).status_code

    assert [call_from("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert call_from("192.0.2.2") == 200


def test_an_exhausted_quota_refuses_calls_until_its_period_ends(
    app: Flask, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    def calls(times: int) -> list[int]:
        statuses = []
        for _ in range(times):
            statuses.append(call(app, token(robot)).status_code)
            clock.forward(2)
        return statuses

    assert calls(9) == [200] * 8 + [429]
    refused = call(app, token(robot))
    left = 86400 - clock.time % 86400

    assert refused.json["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (refused.json["reason"], refused.json["violated-policies"]) == ("quota-exceeded", ["quota-day"])
    assert int(refused.headers["Retry-After"]) == parse_field(refused, "RateLimit")["quota-day"]["t"] == left
    assert parse_field(refused, "RateLimit")["quota-day"]["r"] == 0
    clock.forward(left)
    assert calls(1) == [200]


def test_an_expensive_call_that_the_quota_refuses_blocks_no_cheap_call(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    app.add_url_rule("/api/expensive", "expensive", require_oauth(cost=5)(lambda: jsonify(ok=True)))
    mine = token(robot)
    for _ in range(4):
        assert call(app, mine).status_code == 200
        clock.forward(2)

    refused = call(app, mine, "/api/expensive")

    assert refused.json["detail"].startswith("the quota of 8 calls a day has 4 left, and this call counts as 5;")
    assert parse_field(refused, "RateLimit")["quota-day"]["r"] == 4
    assert call(app, mine).status_code == 200


def test_calls_that_protect_by_default_denies_are_charged_to_nothing(
    app: Flask, robot: CreatedClient, token: Token
) -> None:
    app.add_url_rule("/api/forgotten", "forgotten", lambda: jsonify(ok=True))
    mine = token(robot)

    denied = [call(app, mine, "/api/forgotten") for _ in range(10)]

    assert {response.status_code for response in denied} == {403}
    assert not any("RateLimit" in response.headers for response in denied)
    remaining = parse_field(call(app, mine), "RateLimit")
    assert {name: values["r"] for name, values in remaining.items()} == {"plan-free": 4, "quota-day": 7}


def test_a_client_has_the_default_plan_until_another_which_applies_at_once(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token
) -> None:
    assert set(parse_field(call(app, token(robot)), "RateLimit")) == {"plan-free", "quota-day"}

    subscribe(runtime, robot.client_id, "pro", runtime.clock(), approved=True)

    assert set(parse_field(call(app, token(robot), "/api/mine/1"), "RateLimit")) == {
        "default",
        "plan-pro",
        "quota-month",
    }


def test_another_process_applies_a_new_plan_within_a_second(
    app: Flask, make_app: MakeApp, store_url: str, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    other: Runtime = make_app(store_url, plans=PLANS, default_plan="free").extensions["valetkey"]
    call(app, token(robot))
    subscribe(other, robot.client_id, "pro", other.clock(), approved=True)
    clock.forward(0.6)

    assert "plan-pro" in parse_field(call(app, token(robot)), "RateLimit")


def test_the_plan_of_a_client_is_read_from_the_store_once(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = token(robot)
    call(app, mine)

    def read(*_: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr("valetkey.caches.plans.subscriptions.find", read)
    assert call(app, mine).status_code == 200


def test_a_plan_with_manual_approval_waits_for_the_operator(runtime: Runtime, robot: CreatedClient) -> None:
    subscription = subscribe(runtime, robot.client_id, "pro", runtime.clock())
    assert (subscription.plan, subscription.wanted) == ("free", "pro")
    assert runtime.subscriptions.get_plan_name(robot.client_id, runtime.clock()) == "free"

    approve(runtime, robot.client_id, runtime.clock())

    assert runtime.subscriptions.get_plan_name(robot.client_id, runtime.clock()) == "pro"
    assert get_subscription(runtime, robot.client_id).wanted is None
    with pytest.raises(SubscriptionRefused, match="has no pending request for a plan"):
        approve(runtime, robot.client_id, runtime.clock())
    with pytest.raises(SubscriptionRefused, match="there is no plan gold"):
        subscribe(runtime, robot.client_id, "gold", runtime.clock())


def test_a_client_cannot_be_granted_scopes_that_its_plan_lacks(
    app: Flask, runtime: Runtime, robot: CreatedClient, register: Register
) -> None:
    machine = Browser(app.test_client(), robot)
    assert machine.request_token("client_credentials", scope="notes:write").json["error"] == "invalid_scope"
    assert machine.request_token("client_credentials").json["scope"] == "notes:read profile"
    shop = register(name="Other shop")
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, "ada2@example.org", "Ada")
    assert "invalid_scope" in ada.authorize(scope="profile notes:write").location
    subscribe(runtime, shop.client_id, "pro", runtime.clock(), approved=True)
    granted = ada.obtain_tokens(scope=("profile", "notes:write"))
    assert granted["scope"] == "notes:write profile"

    subscribe(runtime, shop.client_id, "free", runtime.clock())

    refreshed = ada.refresh(granted["refresh_token"])
    assert refreshed.json["scope"] == "profile"


def test_the_limits_endpoint_reports_what_remains_and_costs_nothing(
    app: Flask, robot: CreatedClient, token: Token
) -> None:
    mine = token(robot)
    for _ in range(2):
        call(app, mine, "/api/mine/1")
    responses = [call(app, mine, "/oauth/limits") for _ in range(20)]

    assert {response.status_code for response in responses} == {200}
    body = responses[-1].json
    assert (body["client_id"], body["plan"]) == (robot.client_id, "free")
    assert body["quota"] | {"reset": 0} == {
        "name": "quota-day",
        "limit": 8,
        "period": "day",
        "used": 2,
        "remaining": 6,
        "reset": 0,
    }
    by_name = {limit["name"]: limit for limit in body["limits"]}
    assert by_name["default"] == {
        "name": "default",
        "routes": ["GET /api/mine/<int:number>"],
        "limit": 2,
        "period": 60,
        "burst": 2,
        "remaining": 0,
        "reset": 60,
    }
    assert by_name["plan-free"]["remaining"] == 3
    assert len(by_name["plan-free"]["routes"]) == 3
    assert responses[0].headers["Access-Control-Allow-Origin"] == "*"


def test_the_limits_endpoint_requires_a_token(app: Flask) -> None:
    refused = app.test_client().get("/oauth/limits")

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert app.test_client().post("/oauth/limits").status_code == 405


def test_calls_are_counted_by_client_route_status_and_hour(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    mine, weak = token(robot), token(robot, "notes:read")
    for number in range(3):
        call(app, mine, f"/api/mine/{number}")
    call(app, weak, "/api/protected")
    app.test_client().get("/api/mine/1")
    clock.forward(3600)
    call(app, token(robot))
    runtime.usage.flush()

    counted = usage.list_between(runtime.store, clock.time - 7200, clock.time, robot.client_id)

    hour = int(clock.time) // 3600
    assert [(row.hour - hour, row.route, row.status, row.calls) for row in counted] == [
        (-1, "GET /api/mine/<int:number>", 200, 2),
        (-1, "GET /api/mine/<int:number>", 429, 1),
        (-1, "GET /api/protected", 403, 1),
        (0, "GET /api/any", 200, 1),
    ]
    assert sum(row[3] for row in usage.list_totals(runtime.store, clock.time - 7200, clock.time)) == 5


def test_usage_is_kept_in_bounded_memory_while_the_store_is_down(
    app: Flask, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def down(*_: Any) -> Any:
        raise ConnectionLost("down")

    monkeypatch.setattr("valetkey.activity.usage._MAX_PENDING", 50)
    with monkeypatch.context() as outage:
        outage.setattr(runtime.store, "write", down)
        for number in range(100):
            runtime.usage.record(access_token_of("app"), "GET", f"/{number}", "200", clock.time)
            runtime.usage.record(access_token_of("app"), "GET", "/0", "200", clock.time)
            runtime.usage.flush()
    runtime.usage.flush()

    counted = usage.list_between(runtime.store, clock.time, clock.time, "app")
    assert len(counted) == 50
    assert next(row.calls for row in counted if row.route == "GET /0") == 101


def test_personal_tokens_have_no_scope_that_the_default_plan_lacks(runtime: Runtime) -> None:
    assert runtime.settings.personal_scopes == {"profile", "notes:read"}


def test_a_scope_that_the_plan_lacks_is_refused_with_the_reason(app: Flask, robot: CreatedClient) -> None:
    sent = {"grant_type": "client_credentials", "scope": "notes:write"}
    refused = app.test_client().post("/oauth/token", data=sent, auth=(robot.client_id, robot.secret.reveal()))  # type: ignore[union-attr]  # a machine client has a secret

    assert refused.status_code == 400
    assert refused.json["error"] == "invalid_scope"
    assert refused.json["error_description"] == (
        "the client may not request the scope notes:write: its plan has none of notes:write"
    )


def test_the_api_reference_offers_the_scopes_of_the_default_plan(app: Flask) -> None:
    page = app.test_client().get("/docs").text

    assert re.findall(r'name="scope" value="([^"]+)"', page) == ["notes:read", "profile"]


def test_an_invalid_status_does_not_lose_other_counts(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    odd: dict[str, Any] = {"/api/seven": 7, "/api/teapot": "Teapot"}
    for path, status in odd.items():
        app.add_url_rule(path, path[5:], require_oauth(lambda status=status: ("x", status)))
    for path in ("/api/any", *odd):
        call(app, token(robot), path)
    runtime.usage.record(access_token_of(robot.client_id), "GET", "/api/none", "OK!", clock.time)
    runtime.usage.flush()

    counted = usage.list_between(runtime.store, clock.time, clock.time, robot.client_id)
    assert {(row.route, row.status) for row in counted} == {
        ("GET /api/any", 200),
        ("GET /api/seven", 7),
        ("GET /api/teapot", 0),
        ("GET /api/none", 0),
    }


def test_calls_of_many_threads_are_counted_once_each_while_the_store_fails_at_times(
    app: Flask, runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes = runtime.store.write, itertools.count()

    def write_or_fail(transaction: Any) -> Any:
        if next(writes) % 3 == 0:
            raise ConnectionLost("down")
        return write(transaction)

    def record() -> None:
        for _ in range(5000):
            runtime.usage.record(access_token_of("app"), "GET", "/", "200", clock.time)

    monkeypatch.setattr(runtime.store, "write", write_or_fail)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(5) as threads:
            futures = [threads.submit(record) for _ in range(4)]
            for _ in range(50):
                runtime.usage.flush()
            for future in futures:
                future.result()
    finally:
        sys.setswitchinterval(before)
    runtime.background.close()  # it may be writing at the moment
    for _ in range(3):
        runtime.usage.flush()

    assert sum(row.calls for row in usage.list_between(runtime.store, clock.time, clock.time, "app")) == 20_000


def test_a_failing_job_does_not_stop_the_background_thread(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("broken")

    background, done = BackgroundThread(), []
    background.add(fail)
    background.add(lambda: done.append(1))

    background.run_jobs()

    assert done == [1]
    assert "a background job failed" in caplog.text
    caplog.clear()


def test_usage_beyond_the_bound_of_the_memory_is_logged_as_lost(
    app: Flask, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valetkey.activity.usage._MAX_PENDING", 50)
    for number in range(60):
        runtime.usage.record(access_token_of("app"), "GET", f"/{number}", "200", clock.time)
    runtime.usage.record(access_token_of("app"), "GET", "/0", "200", clock.time)
    runtime.usage.flush()

    counted = usage.list_between(runtime.store, clock.time, clock.time, "app")
    assert (len(counted), sum(row.calls for row in counted)) == (50, 51)
    assert "10 calls were not counted" in caplog.text


def test_unused_calls_of_a_quota_are_returned_when_idle_and_at_exit(
    app: Flask, runtime: Runtime, robot: CreatedClient, token: Token, clock: Clock
) -> None:
    subscribe(runtime, robot.client_id, "pro", runtime.clock(), approved=True)
    for _ in range(40):
        assert call(app, token(robot)).status_code == 200

    def taken() -> int:
        return quotas.find_charged(runtime.store, robot.client_id, "month", period[0])

    period = runtime.admission.plans.budgets["pro"].quota.period_bounds(clock.time)  # type: ignore[union-attr]  # the app has plans with a quota
    assert taken() > 40
    runtime.quotas.return_idle_slices()
    assert taken() > 40, "it is in use"
    clock.forward(3)
    runtime.quotas.return_idle_slices()
    assert taken() == 40
    call(app, token(robot))
    runtime.background.run_exit_jobs()
    assert taken() == 41


@pytest.mark.parametrize(
    ("plans", "default", "message"),
    [
        ({"free": Plan(limit="often")}, "free", "plans: free: a limit must look like"),
        ({"free": Plan(quota="10/week")}, "free", "plans: free: a quota must look like"),
        ({"free": Plan(scopes="nothing")}, "free", "nothing is not in scopes"),
        ({"free": Plan()}, "", "default_plan must be one of free"),
        ({"free": Plan()}, "pro", "default_plan must be one of free"),
        ({}, "pro", "there are no plans"),
        ({"a b": Plan()}, "a b", "must consist of letters"),
        ({"free": Plan(approval="soon")}, "free", "approval must be"),  # type: ignore[arg-type]  # wrong on purpose
        ({"free": {"limits": "1/minute"}}, "free", "'free' has unknown members: limits"),
        ("free", "free", "JSON"),
        (["free"], "free", "plans must map"),
    ],
)
def test_invalid_plans_raise_at_start(plans: Any, default: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Valetkey(Flask("app"), plans=plans, default_plan=default, scopes={"profile": "See"})


def test_plans_can_be_configured_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"VALETKEY_PLANS": json.dumps({"free": {"quota": "5/day"}}), "VALETKEY_DEFAULT_PLAN": "free"}
    app = Flask("app")
    app.config.update(config)
    Valetkey(app)

    assert app.extensions["valetkey"].settings.plans == {"free": Plan(quota="5/day")}


def test_the_program_in_the_docs_on_limits_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first code block of docs/limits.md."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    names: dict[str, Any] = {"__name__": "limits"}
    exec(page.split("```python\n")[1].split("```")[0], names)

    response = names["app"].test_client().get("/api/status")

    assert response.headers["RateLimit-Policy"] == '"default";q=60;w=60'
    names["app"].extensions["valetkey"].close()


def test_limits_that_contradict_the_plans_raise_at_the_first_request(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, plans={"free": Plan(limit="60/minute burst 2")}, default_plan="free")
    app.add_url_rule("/api/a", "a", require_oauth(limit={"gold": "1/minute"})(lambda: ""))
    app.add_url_rule("/api/b", "b", require_oauth(cost=3)(lambda: ""))
    app.add_url_rule("/api/c", "c", require_oauth(limit=RateLimit("1/minute", group="g"))(lambda: ""))
    app.add_url_rule("/api/d", "d", public(limit=RateLimit("2/minute", group="g"))(lambda: ""))

    app.testing = True
    with pytest.raises(SettingsError) as error:
        app.test_client().get("/api/a")

    sentences = str(error.value).splitlines()
    assert len(sentences) == 3
    assert "/api/a has a limit for the plan gold" in sentences[0]
    assert "/api/b costs 3" in sentences[1]
    assert "group g" in sentences[2]
