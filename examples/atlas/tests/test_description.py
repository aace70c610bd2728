"""The API matches ``openapi.json``: the file is up to date, and generated calls get only responses described there."""

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
EXAMPLES = 12  # generated calls of each operation
CHECKS = [checks.not_a_server_error, status_code_conformance, content_type_conformance]


def test_the_file_matches_the_routes(client: FlaskClient) -> None:
    served = client.get("/openapi.json").json

    assert json.loads(FILE.read_text()) == served, "update it: valetkey --app atlas openapi -o openapi.json"


@pytest.mark.parametrize("user_id", ["ada", None], ids=["with a token", "without a token"])
def test_every_response_to_a_generated_call_is_described(
    app: Flask,
    client: FlaskClient,
    headers_for: Callable[..., dict[str, str]],
    valetkey_clock: Clock,
    user_id: str | None,
) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    token = {"scope": "places:read places:write", "user_id": user_id, "expires_in": 86_400, "plan": "pro"}
    headers = headers_for(**token) if user_id else {}
    created = client.post("/api/lists", json={"name": "Summer"}, headers=headers)
    list_id = created.json["id"] if user_id else "8e03978e-40d5-43dd-bc93-6894a57f9324"
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
        for operation in schema.get_all_operations():
            valetkey_clock.forward(1)  # otherwise most calls would exceed the rate limit
            case = data.draw(operation.ok().as_strategy())
            if "list_id" in case.path_parameters and data.draw(strategies.booleans()):
                case.path_parameters["list_id"] = list_id
            response = case.call_and_validate(headers=headers, checks=CHECKS)
            statuses[response.status_code] += 1

    call_each()
    assert statuses.total() >= 120
    assert statuses.keys() >= ({200, 201, 404, 412} if user_id else {200, 401, 404}), statuses
