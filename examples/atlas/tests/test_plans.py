"""What an app's plan is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from atlas import PLANS
from flask.testing import FlaskClient

from valetkey.testing import Clock

Headers = Callable[..., dict[str, str]]
ALMOST = 0.95  # of a burst that comes in an instant a process may admit some calls fewer, and never one more
LIST: dict[str, Any] = {"name": "Summer"}


@pytest.mark.parametrize(("plan", "at_once"), [("free", 30), ("pro", 100)])
def test_a_plan_says_how_many_calls_may_come_at_once(
    client: FlaskClient, headers_for: Headers, plan: str, at_once: int
) -> None:
    headers = headers_for("places:read", user_id="ada", plan=plan)

    statuses = Counter(client.get("/api/lists", headers=headers).status_code for _ in range(at_once + 1))

    assert statuses.keys() == {200, 429}
    assert at_once * ALMOST <= statuses[200] <= at_once


@pytest.mark.parametrize(("plan", "at_once"), [("free", 10), ("pro", 50)])
def test_writing_has_a_limit_of_its_own(
    client: FlaskClient, headers_for: Headers, valetkey_clock: Clock, plan: str, at_once: int
) -> None:
    headers = headers_for("places:write", user_id="ada", plan=plan)

    statuses = Counter(client.post("/api/lists", json=LIST, headers=headers).status_code for _ in range(at_once + 1))

    assert statuses.keys() == {201, 429}
    assert at_once * ALMOST <= statuses[201] <= at_once
    valetkey_clock.forward(60)
    assert client.post("/api/lists", json=LIST, headers=headers).status_code == 201


def test_a_refusal_says_whether_it_is_the_rate_and_when_to_come_back(client: FlaskClient, headers_for: Headers) -> None:
    headers = headers_for("places:read", user_id="ada")
    answers = [client.get("/api/lists", headers=headers) for _ in range(31)]

    assert '"quota-month";q=10000' in answers[0].headers["RateLimit-Policy"]
    assert answers[-1].json["title"] != "Quota Exceeded"
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_only_the_operator_makes_an_app_a_professional() -> None:
    assert {name: plan.approval for name, plan in PLANS.items()} == {"free": "auto", "pro": "manual"}
