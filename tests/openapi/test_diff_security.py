"""Breaking changes of what an operation requires of callers: credentials, sign-in, resource."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.resource_server.fake_issuer import RESOURCE
from tests.support.openapi_apps import create_notes_app
from valetkey import ResourceServer, public, require_oauth
from valetkey.openapi.diff.operations import breaking_changes
from valetkey.openapi.document import build_document

SCHEMES = {
    "oauth2": {"type": "oauth2", "flows": {}},
    "oidc": {"type": "openIdConnect", "openIdConnectUrl": "https://id.example.com"},
    "bearer": {"type": "http", "scheme": "Bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "basic": {"type": "http", "scheme": "basic"},
}


def document(security: Any) -> dict[str, Any]:
    operation = {"responses": {}, **({} if security is None else {"security": security})}
    return {"paths": {"/a": {"get": operation}}, "components": {"securitySchemes": SCHEMES}}


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ([{"oauth2": ["a"]}], [{"oauth2": ["a", "b"]}], "now needs the scope b"),
        ([{"oauth2": ["a"]}, {"bearer": []}], [{"oauth2": ["b"]}, {"bearer": []}], "now needs the scope b"),
        ([{"oauth2": ["a"]}, {"bearer": ["a"]}], [{"bearer": ["a"]}], None),
        ([{"bearer": ["a"]}], [{"oauth2": ["a"]}, {"oidc": ["a"]}], None),
        ([{"oauth2": ["a"]}, {}], [{"oauth2": ["b"]}, {}], "now needs the scope b"),
        ([{"oauth2": ["a"]}, {}], [{"oauth2": ["a"]}], "now needs an access token"),
        ([{"oauth2": ["a"]}], [{"oauth2": ["b"]}, {}], "now needs the scope b"),
        ([{"oauth2": ["a"]}], [{"oauth2": ["a"]}, {}], None),
        ([{"oauth2": ["a"]}], [], None),
        (None, [{"oauth2": ["a"]}, {}], None),
        (None, [{"key": []}], "now needs the security scheme key"),
        ([{"key": []}], [{"basic": []}], "no longer accepts the security scheme key"),
        ([{"oauth2": ["a"]}], [{"key": []}], "no longer accepts an access token"),
        ([{"oauth2": ["a"], "key": []}], [{"oauth2": ["a"]}], None),
        ([{"oauth2": ["a"], "key": []}], [{"oauth2": ["a"]}, {"key": []}], None),
        ([{"oauth2": ["a"]}], [{"oauth2": ["a"], "key": []}], "now also needs the security scheme key"),
        ([{"oauth2": ["a"]}, {"key": []}], [{"oauth2": ["a"], "key": []}], "now also needs the security scheme key"),
    ],
)
def test_credentials_that_no_longer_suffice_are_reported(before: Any, after: Any, sentence: str | None) -> None:
    changes = list(breaking_changes(document(before), document(after)))

    assert changes[:1] == ([f"GET /a {sentence}"] if sentence else [])


def document_of(view: Any) -> dict[str, Any]:
    app = create_notes_app()
    app.add_url_rule("/api/a", "a", view)
    return build_document(app)


OTHER = "https://other.example.com"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ({}, {"acr": "gold silver"}, "now needs a sign-in with gold or silver"),
        ({"acr": "gold silver"}, {"acr": "gold"}, "no longer accepts a sign-in with silver"),
        ({"acr": "gold"}, {"acr": "gold silver"}, None),
        ({"acr": "gold"}, {}, None),
        ({}, {"max_age": 300}, "now needs a sign-in within the last 300 seconds"),
        ({"max_age": 600}, {"max_age": 300}, "now needs a sign-in within the last 300 seconds"),
        ({"max_age": 300}, {"max_age": 600}, None),
        ({}, {"resource": OTHER}, f"now needs a token for the resource {OTHER}"),
        ({"resource": OTHER}, {}, f"no longer accepts a token for the resource {OTHER}"),
        ({"resource": OTHER}, {"resource": f"{OTHER}/2"}, f"now needs a token for the resource {OTHER}/2"),
    ],
)
def test_other_requirements_of_the_token_are_compared(
    before: dict[str, Any], after: dict[str, Any], sentence: str | None
) -> None:
    old, new = (document_of(require_oauth("notes:read", **options)(lambda: "")) for options in (before, after))

    assert list(breaking_changes(old, new)) == ([f"GET /api/a {sentence}"] if sentence else [])


def test_requirements_of_a_token_do_not_break_calls_without_one() -> None:
    optional = require_oauth("notes:read", optional=True, acr="gold")(lambda: "")

    assert list(breaking_changes(document_of(public(lambda: "")), document_of(optional))) == []


def resource_server(*issuers: str) -> Flask:
    app = Flask("api")
    ResourceServer(app, trusted_issuers=issuers, resource=RESOURCE)
    app.add_url_rule("/api/a", "a", require_oauth("notes:read")(lambda: ""))
    return app


def test_an_issuer_that_does_not_respond_is_no_breaking_change_and_one_that_was_removed_is() -> None:
    issuer, other = "https://id.example.com", OTHER
    endpoints = {"authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token"}
    reachable = build_document(resource_server(issuer, other), {issuer: endpoints, other: endpoints})

    assert list(breaking_changes(reachable, build_document(resource_server(issuer, other)))) == []
    assert list(breaking_changes(reachable, build_document(resource_server(issuer), {issuer: endpoints}))) == [
        f"access tokens of {other} are no longer accepted"
    ]
