"""The plan endpoint: a client reads its plan, and requests another one."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from valetkey import Plan
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.authorization_server.plans import service
from valetkey.authorization_server.plans.service import approve, subscribe
from valetkey.runtime import Runtime

PLANS = {"free": Plan(), "basic": Plan(), "pro": Plan(approval="manual")}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, plans=PLANS, default_plan="free")


@pytest.fixture
def machine(register: Register) -> CreatedClient:
    return register("machine", name="Robot")


def request_plan(app: Flask, client: CreatedClient, **parameters: Any) -> Any:
    assert client.secret is not None
    return app.test_client().post("/oauth/plan", data=parameters, auth=(client.client_id, client.secret.reveal()))


def plan_and_pending(response: Any) -> tuple[str, str | None]:
    """Return the current plan, and the plan that waits for approval."""
    assert response.status_code == 200, response.text
    return response.json["plan"], response.json["waits_for"]


def test_a_client_starts_with_the_default_plan_and_can_list_the_plans(app: Flask, machine: CreatedClient) -> None:
    response = request_plan(app, machine)

    assert plan_and_pending(response) == ("free", None)
    assert response.json["plans"] == ["free", "basic", "pro"]
    assert response.headers["Cache-Control"] == "no-store"


def test_a_plan_without_approval_is_active_at_once(app: Flask, machine: CreatedClient) -> None:
    assert plan_and_pending(request_plan(app, machine, plan="basic")) == ("basic", None)
    assert plan_and_pending(request_plan(app, machine)) == ("basic", None)


def test_a_plan_with_manual_approval_waits_for_the_operator(
    app: Flask, runtime: Runtime, machine: CreatedClient
) -> None:
    assert plan_and_pending(request_plan(app, machine, plan="pro")) == ("free", "pro")
    assert plan_and_pending(request_plan(app, machine)) == ("free", "pro")

    approve(runtime, machine.client_id, runtime.clock())

    assert plan_and_pending(request_plan(app, machine)) == ("pro", None)


def test_a_request_does_not_undo_a_plan_that_the_operator_sets_meanwhile(
    app: Flask, runtime: Runtime, machine: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_before = service.get_subscription(runtime, machine.client_id)
    subscribe(runtime, machine.client_id, "basic", runtime.clock())
    monkeypatch.setattr(service, "get_subscription", lambda *_: read_before)
    request_plan(app, machine, plan="pro")
    monkeypatch.undo()

    assert plan_and_pending(request_plan(app, machine)) == ("basic", "pro")


def test_a_new_request_replaces_a_pending_one(app: Flask, machine: CreatedClient) -> None:
    request_plan(app, machine, plan="pro")

    assert plan_and_pending(request_plan(app, machine, plan="free")) == ("free", None)


def test_an_unknown_plan_is_refused_with_the_list_of_plans(app: Flask, machine: CreatedClient) -> None:
    refused = request_plan(app, machine, plan='gold"\r\n')

    assert refused.status_code == 400
    assert refused.json["error"] == "invalid_request"
    assert refused.json["error_description"] == "there is no such plan; there are: free, basic, pro"


def test_refused_requests_do_not_count_as_plan_changes(app: Flask, machine: CreatedClient) -> None:
    for _ in range(11):
        assert request_plan(app, machine, plan="gold").status_code == 400

    assert plan_and_pending(request_plan(app, machine, plan="basic")) == ("basic", None)


def test_plan_changes_are_limited(app: Flask, machine: CreatedClient) -> None:
    """Each plan has its own budget; without the limit, a client could use up all of them in turn."""
    statuses = [request_plan(app, machine, plan=("basic", "free")[n % 2]).status_code for n in range(11)]

    assert statuses == [200] * 10 + [429]
    assert plan_and_pending(request_plan(app, machine)) == ("free", None), "reading the plan is not limited"


def test_the_plan_endpoint_requires_client_authentication(
    app: Flask, runtime: Runtime, register: Register, machine: CreatedClient
) -> None:
    public = register("browser", name="Page")
    http = app.test_client()

    assert http.post("/oauth/plan", data={"client_id": public.client_id, "plan": "basic"}).status_code == 401
    assert http.post("/oauth/plan", data={"client_id": machine.client_id, "plan": "basic"}).status_code == 401
    subscribe(runtime, public.client_id, "basic", runtime.clock())
    assert plan_and_pending(request_plan(app, machine)) == ("free", None)


def test_the_plan_endpoint_exists_only_if_there_are_plans(app: Flask, make_app: MakeApp, store_url: str) -> None:
    metadata = "/.well-known/oauth-authorization-server"
    assert app.test_client().get(metadata).json["plan_endpoint"].endswith("/oauth/plan")

    app_without_plans = make_app(store_url)
    assert "plan_endpoint" not in app_without_plans.test_client().get(metadata).json
    client = register_client(
        app_without_plans.extensions["valetkey"],
        app_without_plans.extensions["valetkey"].clock(),
        name="Robot",
        policy="machine",
    )
    assert request_plan(app_without_plans, client).status_code == 404
