"""The developer portal's documents over HTTP: OpenAPI, API catalog, security.txt, llms.txt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from tests.support.app import MakeApp
from tests.support.clock import Clock
from valetkey import Valetkey, add_security, require_oauth
from valetkey.resource_server.start_checks import path_problems
from valetkey.settings import Settings, SettingsError


@pytest.fixture
def portal_app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(
        sqlite_store_url,
        site_name="Notes",
        api_description="Write things down.",
        security_contact="mailto:security@example.com",
    )


def test_the_openapi_document_is_served_with_an_etag(portal_app: Flask) -> None:
    http = portal_app.test_client()
    first = http.get("/openapi.json")
    validate(first.get_json())
    assert first.content_type == "application/json"
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert "/api/protected" in first.get_json()["paths"]
    second = http.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.data) == (304, b"")


def test_the_api_catalog_links_the_openapi_document_the_reference_and_the_metadata(portal_app: Flask) -> None:
    """RFC 9727 §3 and §4."""
    response = portal_app.test_client().get("/.well-known/api-catalog")
    assert response.content_type.startswith("application/linkset+json")
    assert 'profile="https://www.rfc-editor.org/info/rfc9727"' in response.content_type
    index, api = response.get_json(force=True)["linkset"]
    assert index["item"] == [{"href": api["anchor"]}] == [{"href": "http://127.0.0.1:8000/api"}]
    assert [api[name][0]["href"] for name in ("service-desc", "service-doc", "service-meta")] == [
        "http://127.0.0.1:8000/openapi.json",
        "http://127.0.0.1:8000/docs",
        "http://127.0.0.1:8000/.well-known/oauth-authorization-server",
    ]
    head = portal_app.test_client().head("/.well-known/api-catalog")
    assert 'rel="api-catalog"' in head.headers["Link"]


def test_security_txt_expires_within_a_year(portal_app: Flask, clock: Clock) -> None:
    """RFC 9116 §2.5."""
    response = portal_app.test_client().get("/.well-known/security.txt")
    assert response.content_type == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in response.text.splitlines())
    assert fields["Contact"] == "mailto:security@example.com"
    assert fields["Canonical"] == "http://127.0.0.1:8000/.well-known/security.txt"
    days = (datetime.fromisoformat(fields["Expires"]).timestamp() - clock()) / 86400
    assert 362 < days < 365


@pytest.mark.parametrize(
    "contact", ["security@example.com", "http://a.example", "https://a.example\nExpires: never", "a b"]
)
def test_a_security_contact_that_is_not_a_uri_is_refused(contact: str) -> None:
    with pytest.raises(SettingsError, match="security_contact must be a URI"):
        Settings(security_contact=contact)


def test_without_a_security_contact_security_txt_is_404(make_app: MakeApp, sqlite_store_url: str) -> None:
    assert make_app(sqlite_store_url).test_client().get("/.well-known/security.txt").status_code == 404


def test_llms_txt_describes_the_api_how_to_get_a_token_and_the_operations(portal_app: Flask) -> None:
    text = portal_app.test_client().get("/llms.txt").text
    assert text.startswith("# Notes API\n\n> Write things down.\n")
    for part in (
        "http://127.0.0.1:8000/openapi.json",
        "http://127.0.0.1:8000/oauth/token",
        "- `profile`:",
        "`GET /api/protected`",
        "Needs the scope `profile`",
        "60 calls a minute",
    ):
        assert part in text


def test_each_document_can_be_turned_off(make_app: MakeApp, sqlite_store_url: str) -> None:
    off: dict[str, Any] = {"openapi_path": None, "docs_path": None, "llms_txt_path": None, "api_catalog": False}
    http = make_app(sqlite_store_url, **off).test_client()
    for path in ("/openapi.json", "/docs", "/docs/static/reference.js", "/llms.txt", "/.well-known/api-catalog"):
        assert http.get(path).status_code == 404


def test_a_path_conflict_with_the_host_names_the_setting_that_moves_the_document() -> None:
    app = Flask("host")
    app.add_url_rule("/docs", "docs", lambda: "")
    Valetkey(app)
    assert ["docs_path" in problem for problem in path_problems(app)] == [True]


def test_the_document_of_another_extension_is_served_with_security_added(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = Flask("pets")
    spec: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Pets", "version": "7"},
        "paths": {"/api/pets": {"get": {"summary": "See the pets", "responses": {"200": {"description": "Pets"}}}}},
    }
    Valetkey(app, scopes={"pets:read": "See pets"}, openapi=lambda: spec, database_url=sqlite_store_url)

    @app.get("/api/pets")
    @require_oauth("pets:read")
    def pets() -> Any:
        return []

    served = app.test_client().get("/openapi.json").get_json()
    validate(served)
    assert served == add_security(spec, app)
    assert "See the pets" in app.test_client().get("/llms.txt").text
    app.extensions["valetkey"].close()
