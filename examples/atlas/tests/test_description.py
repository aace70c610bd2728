"""The API is what ``openapi.json`` says: the file is as the routes are, and made-up calls get no answer beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import checks
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from valetkey.testing import Clock

FILE = Path(__file__).parents[1] / "openapi.json"
EXAMPLES = 12  # of each operation
CHECKS = [checks.not_a_server_error, status_code_conformance, content_type_conformance]


def test_the_file_is_as_the_routes_are(client: FlaskClient) -> None:
    served = client.get("/openapi.json").json

    assert json.loads(FILE.read_text()) == served, "write it anew: valetkey --app atlas openapi -o openapi.json"


@pytest.mark.parametrize("user_id", ["ada", None], ids=["a person", "a stranger"])
def test_no_made_up_call_is_answered_in_a_way_that_is_not_described(
    app: Flask,
    client: FlaskClient,
    headers_for: Callable[..., dict[str, str]],
    valetkey_clock: Clock,
    user_id: str | None,
) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    asked = {"scope": "places:read places:write", "user_id": user_id, "expires_in": 86_400, "plan": "pro"}
    headers = headers_for(**asked) if user_id else {}
    made = client.post("/api/lists", json={"name": "Summer"}, headers=headers)
    known = made.json["id"] if user_id else "8e03978e-40d5-43dd-bc93-6894a57f9324"
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=strategies.data())
    def call_each(data: Any) -> None:
        for found in schema.get_all_operations():
            valetkey_clock.forward(1)  # else most would be told that they call too often
            case = data.draw(found.ok().as_strategy())
            if "list_id" in case.path_parameters and data.draw(strategies.booleans()):
                case.path_parameters["list_id"] = known
            answer = case.call_and_validate(headers=headers, checks=CHECKS)
            statuses[answer.status_code] += 1

    call_each()
    assert statuses.total() >= 120
    assert statuses.keys() >= ({200, 201, 404, 412} if user_id else {200, 401, 404}), statuses
