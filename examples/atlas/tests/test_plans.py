"""The limits and quotas of the plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from atlas import PLANS
from flask.testing import FlaskClient

from valetkey.testing import Clock

Headers = Callable[..., dict[str, str]]
ALMOST = 0.95  # if a whole burst arrives at once, a process may admit slightly fewer calls, but never more
LIST: dict[str, Any] = {"name": "Summer"}


@pytest.mark.parametrize(("plan", "at_once"), [("free", 30), ("pro", 100)])
def test_a_plan_limits_the_calls_in_a_burst(client: FlaskClient, headers_for: Headers, plan: str, at_once: int) -> None:
    headers = headers_for("places:read", user_id="ada", plan=plan)

    statuses = Counter(client.get("/api/lists", headers=headers).status_code for _ in range(at_once + 1))

    assert statuses.keys() == {200, 429}
    assert at_once * ALMOST <= statuses[200] <= at_once


@pytest.mark.parametrize(("plan", "at_once"), [("free", 10), ("pro", 50)])
def test_writing_has_its_own_limit(
    client: FlaskClient, headers_for: Headers, valetkey_clock: Clock, plan: str, at_once: int
) -> None:
    headers = headers_for("places:write", user_id="ada", plan=plan)

    statuses = Counter(client.post("/api/lists", json=LIST, headers=headers).status_code for _ in range(at_once + 1))

    assert statuses.keys() == {201, 429}
    assert at_once * ALMOST <= statuses[201] <= at_once
    valetkey_clock.forward(60)
    assert client.post("/api/lists", json=LIST, headers=headers).status_code == 201


def test_a_429_says_which_limit_was_exceeded_and_when_to_retry(client: FlaskClient, headers_for: Headers) -> None:
    headers = headers_for("places:read", user_id="ada")
    responses = [client.get("/api/lists", headers=headers) for _ in range(31)]

    assert '"quota-month";q=10000' in responses[0].headers["RateLimit-Policy"]
    assert responses[-1].json["title"] != "Quota Exceeded"
    assert int(responses[-1].headers["Retry-After"]) >= 1


def test_the_plan_pro_needs_approval() -> None:
    assert {name: plan.approval for name, plan in PLANS.items()} == {"free": "auto", "pro": "manual"}
