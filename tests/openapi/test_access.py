"""What several decorators of one route require together: scopes, sign-in, resources and rate limits."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from flask.views import MethodView
from openapi_spec_validator import validate

from tests.support.openapi_apps import create_notes_app
from valetkey import public, require_oauth
from valetkey.openapi.document import build_document

READ, WRITE = "`notes:read` (Read your notes)", "`notes:write` (Change your notes)"
OUTER_LIMIT = "5 calls a minute, 1 at once, for each app and user together."
INNER_LIMIT = "100 calls a minute, 10 at once, for each app and user together. Each call counts as 2."


def operation_of(view: Any) -> dict[str, Any]:
    app = create_notes_app()
    app.add_url_rule("/api/x", "x", view, methods=["GET"])
    document = build_document(app)
    validate(document)
    return dict(document["paths"]["/api/x"]["get"])


class Notes(MethodView):
    decorators = (require_oauth("notes:read", limit="5/minute"),)

    @require_oauth("notes:write", limit="100/minute", cost=2)
    def get(self) -> str:
        return ""


def stacked() -> Any:
    outer, inner = Notes.decorators[0], require_oauth("notes:write", limit="100/minute", cost=2)
    return outer(inner(lambda: ""))


@pytest.mark.parametrize("view", [Notes.as_view("notes"), stacked()], ids=["class", "function"])
def test_all_decorators_are_documented(view: Any) -> None:
    operation = operation_of(view)

    assert operation["security"][0] == {"oauth2": ["notes:read", "notes:write"]}
    assert operation["x-access"] == f"Needs the scope {READ} and {WRITE}."
    assert operation["x-rate-limit"] == {
        "policies": [
            {"limit": 5, "window": 60, "burst": 1},
            {"limit": 100, "window": 60, "burst": 10, "cost": 2},
        ],
        "description": f"{OUTER_LIMIT} {INNER_LIMIT}",
    }
    assert f"Limit: {OUTER_LIMIT} {INNER_LIMIT}" in operation["description"]


def test_the_limit_of_a_public_decorator_around_a_protected_view_is_documented() -> None:
    operation = operation_of(public(limit="60/minute")(require_oauth("notes:read", limit="5/minute")(lambda: "")))

    assert operation["security"][0] == {"oauth2": ["notes:read"]}
    assert operation["x-access"] == f"Needs the scope {READ}."
    assert [policy["limit"] for policy in operation["x-rate-limit"]["policies"]] == [60, 5]
    assert {"401", "403", "429"} <= set(operation["responses"])


def test_the_decorator_of_a_function_that_a_partial_calls_is_documented() -> None:
    guarded = require_oauth("notes:read")(lambda number: str(number))

    assert operation_of(functools.partial(guarded, 3))["security"][0] == {"oauth2": ["notes:read"]}


def test_an_alternative_that_needs_more_than_another_is_left_out() -> None:
    view = require_oauth(["notes:read", "notes:write"])(require_oauth("notes:read")(lambda: ""))

    assert operation_of(view)["x-access"] == f"Needs the scope {READ}."


def test_a_token_is_optional_only_if_every_decorator_says_so() -> None:
    optional, required = require_oauth("notes:read", optional=True), require_oauth("notes:write")

    access = operation_of(optional(lambda: ""))["x-access"]
    assert access == f"An access token is optional. If sent, it needs the scope {READ}."
    operation = operation_of(optional(required(lambda: "")))
    assert operation["x-access"] == f"Needs the scope {READ} and {WRITE}."
    assert {} not in operation["security"]


def test_requirements_of_the_sign_in_and_the_resource_are_united() -> None:
    outer = require_oauth(acr="gold silver", max_age=600)
    inner = require_oauth(acr="silver bronze", max_age=300, resource="https://other.example.com")
    operation = operation_of(outer(inner(lambda: "")))

    assert operation["x-token-requirements"] == {
        "resources": ["http://127.0.0.1:8000", "https://other.example.com"],
        "acr_values": ["silver"],
        "max_age": 300,
    }
    assert operation["x-access"] == (
        "Needs an access token, of any scope. The token must be for the resources http://127.0.0.1:8000 and "
        "https://other.example.com. The user must have signed in with gold or silver. The user must have signed in "
        "with silver or bronze. The user must have signed in within the last 300 seconds."
    )
    assert "x-token-requirements" not in operation_of(require_oauth(lambda: ""))
