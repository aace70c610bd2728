"""Apps ask for plans themselves; nobody does it for them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conftest import MakeApp, Register
from valetkey import Plan
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.authorization_server.plans.service import approve, subscribe
from valetkey.runtime import Runtime

PLANS = {"free": Plan(), "basic": Plan(), "pro": Plan(approval="manual")}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, plans=PLANS, default_plan="free")


@pytest.fixture
def robot(register: Register) -> CreatedClient:
    return register("machine", name="Robot")


def ask(app: Flask, client: CreatedClient, **sent: Any) -> Any:
    assert client.secret is not None
    return app.test_client().post("/oauth/plan", data=sent, auth=(client.client_id, client.secret.reveal()))


def told(answer: Any) -> tuple[str, str | None]:
    assert answer.status_code == 200, answer.text
    return answer.json["plan"], answer.json["waits_for"]


def test_an_app_has_the_default_plan_and_sees_which_there_are(app: Flask, robot: CreatedClient) -> None:
    asked = ask(app, robot)

    assert told(asked) == ("free", None)
    assert asked.json["plans"] == ["free", "basic", "pro"]
    assert asked.headers["Cache-Control"] == "no-store"


def test_it_has_at_once_what_needs_no_approval(app: Flask, robot: CreatedClient) -> None:
    assert told(ask(app, robot, plan="basic")) == ("basic", None)
    assert told(ask(app, robot)) == ("basic", None)


def test_it_waits_for_the_operator_where_the_plan_says_so(app: Flask, runtime: Runtime, robot: CreatedClient) -> None:
    assert told(ask(app, robot, plan="pro")) == ("free", "pro")
    assert told(ask(app, robot)) == ("free", "pro")

    approve(runtime, robot.client_id)

    assert told(ask(app, robot)) == ("pro", None)


def test_a_wish_is_taken_back_by_another(app: Flask, robot: CreatedClient) -> None:
    ask(app, robot, plan="pro")

    assert told(ask(app, robot, plan="free")) == ("free", None)


def test_an_unknown_plan_is_refused_with_those_that_there_are(app: Flask, robot: CreatedClient) -> None:
    refused = ask(app, robot, plan='gold"\r\n')

    assert refused.status_code == 400
    assert refused.json["error"] == "invalid_request"
    assert refused.json["error_description"] == "there is no such plan; there are: free, basic, pro"


def test_a_refused_wish_is_no_change(app: Flask, robot: CreatedClient) -> None:
    for _ in range(11):
        assert ask(app, robot, plan="gold").status_code == 400

    assert told(ask(app, robot, plan="basic")) == ("basic", None)


def test_plans_are_not_changed_to_and_fro(app: Flask, robot: CreatedClient) -> None:
    """Each has a budget of its own, which would all be used up in turn."""
    answers = [ask(app, robot, plan=("basic", "free")[n % 2]).status_code for n in range(11)]

    assert answers == [200] * 10 + [429]
    assert told(ask(app, robot)) == ("free", None), "asking is not changing"


def test_who_cannot_prove_itself_asks_for_nothing(
    app: Flask, runtime: Runtime, register: Register, robot: CreatedClient
) -> None:
    public = register("browser", name="Page")
    http = app.test_client()

    assert http.post("/oauth/plan", data={"client_id": public.client_id, "plan": "basic"}).status_code == 401
    assert http.post("/oauth/plan", data={"client_id": robot.client_id, "plan": "basic"}).status_code == 401
    subscribe(runtime, public.client_id, "basic")
    assert told(ask(app, robot)) == ("free", None)


def test_it_is_advertised_and_described_where_there_are_plans(app: Flask, make_app: MakeApp, store_url: str) -> None:
    metadata = "/.well-known/oauth-authorization-server"
    assert app.test_client().get(metadata).json["plan_endpoint"].endswith("/oauth/plan")

    without = make_app(store_url)
    assert "plan_endpoint" not in without.test_client().get(metadata).json
    client = register_client(without.extensions["valetkey"], name="Robot", policy="machine")
    assert ask(without, client).status_code == 404
