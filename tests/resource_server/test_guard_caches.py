"""The guard caches that a token may call a route; what can change between two calls is still checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, jsonify
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey import Plan, RateLimit, public, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.plans.service import subscribe
from valetkey.openapi.document import build_document
from valetkey.rate_limiting import admission
from valetkey.rate_limiting.limiter import LimitResult
from valetkey.runtime import Runtime
from valetkey.storage.active_grants import list_active
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.tokens.access import Access


def respond() -> object:
    return jsonify(ok=True)


def test_max_age_refuses_a_token_whose_sign_in_has_become_too_old(app: Flask, ada: Browser, clock: Clock) -> None:
    """RFC 9470 §3."""
    app.add_url_rule("/api/lately", "lately", require_oauth(max_age=300)(respond))
    token = ada.obtain_tokens()["access_token"]
    assert ada.call(token, "/api/lately").status_code == 200

    clock.forward(301)
    refused = ada.call(token, "/api/lately")

    assert refused.status_code == 401
    assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]


def test_a_route_that_requires_more_scopes_refuses_a_token_that_another_accepts(app: Flask, ada: Browser) -> None:
    app.add_url_rule("/api/little", "little", require_oauth("profile")(respond))
    app.add_url_rule("/api/much", "much", require_oauth("profile notes:read")(respond))
    token = ada.obtain_tokens()["access_token"]

    assert [ada.call(token, path).status_code for path in ("/api/little", "/api/much") * 2] == [200, 403] * 2


def test_each_of_two_guards_of_one_endpoint_checks_the_token(app: Flask, ada: Browser) -> None:
    app.add_url_rule("/api/both", "both", require_oauth("profile")(require_oauth("notes:write")(respond)))
    token = ada.obtain_tokens()["access_token"]

    assert [ada.call(token, "/api/both").status_code for _ in range(3)] == [403] * 3


def test_public_around_require_oauth_has_no_effect(app: Flask, ada: Browser) -> None:
    app.add_url_rule("/api/both", "both", public(require_oauth("profile")(respond)))

    assert ada.call(None, "/api/both").status_code == 401
    assert ada.call(ada.obtain_tokens()["access_token"], "/api/both").status_code == 200
    assert build_document(app)["paths"]["/api/both"]["get"]["security"] == [
        {"oauth2": ["profile"]},
        {"bearer": ["profile"]},
    ]


def test_a_guard_that_cannot_count_keeps_the_fields_of_the_outer_guard(
    app: Flask, ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = require_oauth(limit=RateLimit("5/minute burst 5", fail="open", group="down"))(respond)
    app.add_url_rule("/api/two", "two", require_oauth(limit="100/minute burst 50")(inner))
    spend = runtime.admission.limiter.spend

    def down(key: str, *arguments: Any) -> LimitResult:
        if key.startswith("group|down"):
            raise StoreUnavailable("down")
        return spend(key, *arguments)

    monkeypatch.setattr(runtime.admission.limiter, "spend", down)

    response = ada.call(ada.obtain_tokens()["access_token"], "/api/two")

    assert response.status_code == 200
    assert response.headers["RateLimit"] == '"default";r=49;t=1'


def test_each_use_of_a_grant_is_recorded(app: Flask, ada: Browser, clock: Clock, runtime: Runtime) -> None:
    token, used = ada.obtain_tokens()["access_token"], []
    for _ in range(2):
        assert ada.call(token, "/api/protected").status_code == 200
        runtime.usage.flush()
        (grant,) = list_active(runtime.store, clock.time, owner="ada")
        used.append(grant.last_used_at)
        clock.forward(60)

    assert used == [clock.time - 120, clock.time - 60]


def test_a_view_at_two_endpoints_has_a_budget_at_each(app: Flask, ada: Browser) -> None:
    view = require_oauth(limit="2/minute burst 2")(respond)
    for endpoint in ("one", "other"):
        app.add_url_rule(f"/api/{endpoint}", endpoint, view)
    token = ada.obtain_tokens()["access_token"]

    called = {path: [ada.call(token, path).status_code for _ in range(3)] for path in ("/api/one", "/api/other")}

    assert called == {"/api/one": [200, 200, 429], "/api/other": [200, 200, 429]}


def test_a_change_of_plan_applies_to_the_next_call(make_app: MakeApp, store_url: str) -> None:
    plans = {"free": Plan(limit="60/minute burst 5"), "pro": Plan(limit="6000/minute burst 600")}
    app = make_app(store_url, plans=plans, default_plan="free")
    app.add_url_rule("/api/any", "any", require_oauth(respond))
    client_id, call = create_machine(app)

    policies = [call("/api/any").headers["RateLimit-Policy"]]
    for plan in ("pro", "free"):
        subscribe(app.extensions["valetkey"], client_id, plan, app.extensions["valetkey"].clock(), approved=True)
        policies.append(call("/api/any").headers["RateLimit-Policy"])

    assert policies == ['"plan-free";q=60;w=60', '"plan-pro";q=6000;w=60', '"plan-free";q=60;w=60']


FIELDS = {
    "ietf": {"RateLimit-Policy", "RateLimit"},
    "legacy": {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
    "both": {"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
    "off": set(),
}


@pytest.mark.parametrize("style", FIELDS)
def test_calls_from_a_lease_are_charged_and_have_the_rate_limit_fields(
    make_app: MakeApp, store_url: str, style: str, clock: Clock
) -> None:
    """After some twenty calls, calls are charged to a lease."""
    app = make_app(store_url, rate_limit_fields=style)
    app.add_url_rule("/api/expensive", "expensive", require_oauth(limit="6000/minute burst 600", cost=3)(respond))
    _, call = create_machine(app)

    calls = [call("/api/expensive") for _ in range(201)]

    assert [response.status_code for response in calls] == [200] * 200 + [429]
    for number, response in enumerate(calls[:200], 1):
        assert {name for name in dict(response.headers) if "RateLimit" in name} == FIELDS[style]
        if style in {"ietf", "both"}:
            assert response.headers["RateLimit"].startswith(f'"default";r={600 - 3 * number};')
        if style in {"legacy", "both"}:
            assert response.headers["X-RateLimit-Remaining"] == str(600 - 3 * number)
            assert clock.time <= int(response.headers["X-RateLimit-Reset"]) <= clock.time + 7


def test_a_plan_with_another_limit_starts_another_budget(make_app: MakeApp, store_url: str) -> None:
    """A client that has used up the free plan's calls of the day need not wait until tomorrow after an upgrade."""
    plans = {"free": Plan(), "pro": Plan()}
    app = make_app(store_url, plans=plans, default_plan="free")
    limit = {"free": "100/day burst 2", "pro": "6000/minute burst 600"}
    app.add_url_rule("/api/any", "any", require_oauth(limit=limit)(respond))
    client_id, call = create_machine(app)
    runtime: Runtime = app.extensions["valetkey"]

    assert [call("/api/any").status_code for _ in range(3)] == [200, 200, 429]
    subscribe(runtime, client_id, "pro", runtime.clock(), approved=True)
    assert call("/api/any").headers["RateLimit"] == '"default";r=599;t=1'
    subscribe(runtime, client_id, "free", runtime.clock(), approved=True)
    assert call("/api/any").status_code == 429, "changing back restores no budget"


def test_a_call_that_the_plan_refuses_has_only_the_fields_of_the_plan(make_app: MakeApp, store_url: str) -> None:
    """The charge to the route's limit is refunded, so its numbers would be wrong."""
    app = make_app(store_url, plans={"free": Plan(limit="60/hour burst 1")}, default_plan="free")
    app.add_url_rule("/api/any", "any", require_oauth(limit="10/minute burst 10")(respond))
    _, call = create_machine(app)

    fields = [call("/api/any").headers["RateLimit"] for _ in range(3)]

    assert fields[0] == '"default";r=9;t=6, "plan-free";r=0;t=60'
    assert fields[1:] == ['"plan-free";r=0;t=60'] * 2


def test_the_caches_of_the_guard_are_bounded(
    app: Flask, ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_MAX_CHARGE_PLANS", 5)
    monkeypatch.setattr(admission, "_MAX_AUTHORIZED_ROUTES", 5)

    for _ in range(12):
        assert ada.call(ada.obtain_tokens()["access_token"], "/api/protected").status_code == 200
    for number in range(12):
        assert ada.http.get("/api/public", environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"}).status_code == 200

    assert 1 <= len(runtime.admission.authorized_routes) <= 5
    assert 1 <= len(runtime.admission._charge_plans) <= 5


def create_machine(app: Flask) -> tuple[str, Callable[[str], TestResponse]]:
    """Return the id of a new machine client, and a function that calls a path with its token."""
    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Robot", policy="machine")
    audience = (runtime.settings.api_resource,)
    access = Access(client.client_id, frozenset(), audience, None, runtime.clock())
    access_token = runtime.token_generator.generate_access_token(access, grant=None, feed_view=runtime.feed.get_view())
    headers = {"Authorization": f"Bearer {access_token.value}"}
    return client.client_id, lambda path: app.test_client().get(path, headers=headers)
