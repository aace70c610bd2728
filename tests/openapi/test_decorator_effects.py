"""What the ``api_helpers`` decorators of a view add to its operation, in our documents and in those of others."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.support.openapi_apps import create_notes_app
from valetkey import add_security, public, require_oauth
from valetkey.api_helpers import deprecated, idempotent, max_body
from valetkey.openapi.document import build_document

REPEATED = "A new random string for each operation. A request repeated with its key "


def post_operation(view: Any, **settings: Any) -> dict[str, Any]:
    app = create_notes_app(**settings)
    app.add_url_rule("/api/x", "x", view, methods=["POST"])
    document = build_document(app)
    validate(document)
    return dict(document["paths"]["/api/x"]["post"])


def test_an_operation_of_another_document_is_deprecated_unless_it_says_otherwise() -> None:
    app = create_notes_app()
    app.add_url_rule("/api/old", "old", deprecated(since="2026-01-31")(public(lambda: "")), methods=["GET", "POST"])
    operation = {"responses": {"200": {"description": "OK"}}}
    item = {"get": operation, "post": {**operation, "deprecated": False}}

    found = add_security({"openapi": "3.1.0", "paths": {"/api/old": item}}, app)["paths"]["/api/old"]

    assert (found["get"]["deprecated"], found["post"]["deprecated"]) == (True, False)
    assert "Deprecation" in found["get"]["responses"]["200"]["headers"]


@pytest.mark.parametrize(
    ("protect", "repeated", "conflict", "is_replayed"),
    [
        (require_oauth, "gets the first response.", "is still being processed", True),
        (public, "is refused with 409.", "There was a request with this Idempotency-Key.", False),
        (lambda view: view, "is refused with 409.", "There was a request with this Idempotency-Key.", False),
        (
            require_oauth(optional=True),
            "gets the first response if it has an access token, else 409.",
            "There was a request with this Idempotency-Key, without an access token.",
            True,
        ),
    ],
    ids=["token", "public", "undecorated", "optional token"],
)
def test_a_response_is_replayed_only_to_callers_with_a_token(
    protect: Any, repeated: str, conflict: str, is_replayed: bool
) -> None:
    operation = post_operation(protect(idempotent(lambda: "")))

    assert operation["parameters"][0]["description"] == REPEATED + repeated
    assert conflict in operation["responses"]["409"]["description"]
    assert ("Idempotent-Replayed" in operation["responses"]["200"].get("headers", {})) is is_replayed
    assert {"400", "409", "413", "422", "503"} <= set(operation["responses"])


@pytest.mark.parametrize(
    ("decorate", "setting", "limit"),
    [
        (idempotent, "", "1048576 bytes with an Idempotency-Key"),
        (idempotent, "10 MiB", "10 MiB, and at most 1048576 bytes with an Idempotency-Key"),
        (idempotent(required=True, largest="2 KiB"), "10 MiB", "2048 bytes"),
        (idempotent, "64 KiB", "64 KiB"),
        (lambda view: max_body(10)(idempotent(view)), "64 KiB", "10 bytes"),
        (lambda view: view, "64 KiB", "64 KiB"),
    ],
)
def test_the_largest_body_is_documented(decorate: Any, setting: str, limit: str) -> None:
    operation = post_operation(public(decorate(lambda: "")), max_body=setting)

    assert operation["responses"]["413"]["description"] == f"The body may be at most {limit}."
