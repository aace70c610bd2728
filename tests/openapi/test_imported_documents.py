"""Documents of other extensions and of YAML files: what they may contain, and which routes their operations have."""

from __future__ import annotations

import copy
import datetime
import json
import logging
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from tests.support.openapi_apps import NOTES_SCOPES
from valetkey import Valetkey, add_security, public, require_oauth
from valetkey.api_helpers import deprecated
from valetkey.openapi.document import build_document

OK = {"responses": {"200": {"description": "OK"}}}
TOKEN = [{"oauth2": ["notes:read"]}, {"bearer": ["notes:read"]}]


def create_app(**settings: Any) -> Flask:
    app = Flask("notes")
    Valetkey(app, scopes=NOTES_SCOPES, embedded_worker=False, **settings)
    return app


def secured(paths: dict[str, Any], app: Flask, **document: Any) -> dict[str, Any]:
    spec = {"openapi": "3.1.0", "info": {"title": "Notes", "version": "1"}, "paths": paths, **document}
    original = copy.deepcopy(spec)
    found = add_security(spec, app)
    assert spec == original
    validate(found)
    return found


FROM_YAML: dict[str, Any] = {
    "openapi": 3.1,
    "info": {"title": "Notes", "description": None},
    "tags": None,
    "servers": None,
    "paths": {
        "x-group": {"get": {"summary": None, True: 1, None: 2}},
        "/api/notes": {
            "parameters": None,
            "get": {
                "tags": None,
                "parameters": [
                    None,
                    {
                        "name": "since",
                        "in": "query",
                        "schema": {"type": "string", "default": datetime.date(2026, 1, 31)},
                    },
                    {"name": "most", "in": "query", "schema": {"maximum": float("inf"), "default": None}},
                    {"name": "any", "in": "query", "schema": True},
                    {"name": "none", "in": "query", "schema": False},
                ],
                "description": None,
                "responses": {
                    200: {
                        "description": "OK",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": None,
                                    "properties": {
                                        "default": {"type": ["string", None], "default": None, "enum": ["a", None]},
                                        "next": None,
                                        "free": True,
                                        "pair": {"type": "array", "prefixItems": [True], "items": False},
                                    },
                                    "additionalProperties": False,
                                },
                                "example": {"next": None},
                            }
                        },
                    },
                    "default": None,
                },
            },
            "put": None,
            "post": {"requestBody": {"content": {"application/json": {"schema": True}}}},
        },
        "/api/moved": {"$ref": "#/components/pathItems/Moved"},
        "/api/nothing": None,
    },
    "components": {"schemas": None, "pathItems": {"Moved": {"get": {"responses": {303: {"description": "Moved"}}}}}},
}


def test_a_document_from_yaml_is_served_with_security() -> None:
    app = create_app(openapi=lambda: FROM_YAML, site_name="Notes", api_version="7")
    for path in ("/api/notes", "/api/moved"):
        view = require_oauth("notes:read")(lambda: "")
        app.add_url_rule(path, path.replace("/", "_"), view, methods=["GET", "POST"])
    original, http = copy.deepcopy(FROM_YAML), app.test_client()

    pages = {path: http.get(path) for path in ("/openapi.json", "/docs", "/llms.txt")}

    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    assert original == FROM_YAML
    document = json.loads(pages["/openapi.json"].text)
    validate(document)
    assert (document["openapi"], document["info"]) == ("3.1.0", {"title": "Notes", "version": "7"})
    assert document["servers"] == [{"url": "http://127.0.0.1:8000"}]
    assert sorted(document["paths"]) == ["/api/moved", "/api/notes", "x-group"]
    assert document["paths"]["x-group"] == {"get": {"summary": None, "true": 1, "null": 2}}
    get = document["paths"]["/api/notes"]["get"]
    assert {"200", "400", "401", "403"} <= set(get["responses"])
    assert get["security"] == document["paths"]["/api/moved"]["get"]["security"] == TOKEN
    assert [parameter["schema"] for parameter in get["parameters"]] == [
        {"type": "string", "default": "2026-01-31"},
        {"default": None},
        True,
        False,
    ]
    media = get["responses"]["200"]["content"]["application/json"]
    assert media["example"] == {"next": None}
    assert media["schema"]["properties"]["default"] == {
        "type": ["string", "null"],
        "default": None,
        "enum": ["a", None],
    }
    assert "curl http://127.0.0.1:8000/api/notes" in pages["/docs"].text


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"paths": []}, "paths of the document in the OpenAPI document is not an object"),
        ({"tags": "notes"}, "tags of the document in the OpenAPI document is not a list"),
        ({"paths": {"/api/notes": []}}, "/api/notes of paths in the OpenAPI document is not an object"),
        ({"paths": {"/api/notes": {"get": []}}}, "get of /api/notes in"),
        ({"paths": {"/api/notes": {"get": {"parameters": {}}}}}, "parameters of GET /api/notes in"),
        ({"openapi": None}, "is not OpenAPI 3"),
    ],
)
def test_a_malformed_document_is_refused_with_the_place(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_security({"openapi": "3.1.0", "paths": {}, **part}, create_app())


@pytest.mark.parametrize(
    ("issuer", "servers", "path"),
    [
        ("http://127.0.0.1:8000", [{"url": "http://127.0.0.1:8000/api"}], "/notes"),
        ("http://127.0.0.1:8000", [{"url": "/api/"}], "/notes"),
        ("http://127.0.0.1:8000/base", [{"url": "http://127.0.0.1:8000/base/api"}], "/notes"),
        ("http://127.0.0.1:8000", [{"url": "https://x.example/{v}", "variables": {"v": {"default": "api"}}}], "/notes"),
        ("http://127.0.0.1:8000", [{"url": "https://x.example/removed/by/proxy"}], "/api/notes"),
    ],
)
def test_the_path_of_the_server_is_a_part_of_the_route(
    issuer: str, servers: list[dict[str, Any]], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(issuer=issuer)
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read")(lambda: ""))
    app.add_url_rule("/notes", "other", public(lambda: ""))

    document = secured({path: {"get": OK}}, app, servers=servers)

    assert document["paths"][path]["get"]["security"] == TOKEN
    assert caplog.text == ""


def test_servers_of_a_path_or_an_operation_take_precedence() -> None:
    app = create_app()
    app.add_url_rule("/v2/notes", "notes", require_oauth("notes:read")(lambda: ""), methods=["GET", "POST"])
    servers = [{"url": "/v2"}]

    of_path = secured({"/notes": {"get": OK, "servers": servers}}, app, servers=[{"url": "/v1"}])
    of_operation = secured({"/notes": {"get": {**OK, "servers": servers}}}, app)

    assert of_path["paths"]["/notes"]["get"]["security"] == TOKEN
    assert of_operation["paths"]["/notes"]["get"]["security"] == TOKEN


def test_operations_without_a_route_are_named_and_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app()
    app.add_url_rule("/api/notes", "notes", public(lambda: ""))

    document = secured({"/api/gone": {"get": OK}, "/api/notes": {"get": OK, "head": OK, "post": OK}}, app)

    assert document["paths"]["/api/gone"]["get"] == OK
    assert document["paths"]["/api/notes"]["head"]["security"] == []
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "GET /api/gone in the OpenAPI document has no route: its security is not documented",
        "POST /api/notes in the OpenAPI document has no route: its security is not documented",
    ]


def two_note_routes() -> Flask:
    app = create_app()
    app.add_url_rule("/api/notes/<int:note_id>", "by_id", require_oauth("notes:read")(lambda note_id: ""))
    app.add_url_rule("/api/notes/<slug>", "by_slug", public(lambda slug: ""))
    return app


def test_paths_that_differ_in_parameter_names_have_their_own_routes(caplog: pytest.LogCaptureFixture) -> None:
    app = two_note_routes()
    spec = {"openapi": "3.1.0", "paths": {"/api/notes/{note_id}": {"get": OK}, "/api/notes/{slug}": {"get": OK}}}

    paths = add_security(spec, app)["paths"]

    assert paths["/api/notes/{note_id}"]["get"]["security"] == TOKEN
    assert paths["/api/notes/{slug}"]["get"]["security"] == []
    assert caplog.text == ""


def test_an_operation_that_can_be_several_routes_is_not_documented_as_public(caplog: pytest.LogCaptureFixture) -> None:
    paths = add_security({"openapi": "3.1.0", "paths": {"/api/notes/{id}": {"get": OK}}}, two_note_routes())["paths"]

    assert paths["/api/notes/{id}"]["get"]["security"] == TOKEN
    assert "can be any of the routes /api/notes/<int:note_id>, /api/notes/<slug>" in caplog.text


def test_a_route_that_openapi_cannot_distinguish_from_another_is_named(caplog: pytest.LogCaptureFixture) -> None:
    document = build_document(two_note_routes())

    assert list(document["paths"]) == ["/api/notes/{note_id}"]
    assert [record.message for record in caplog.records] == [
        "GET /api/notes/<slug> (by_slug) is not documented: OpenAPI cannot distinguish it from "
        "/api/notes/<int:note_id> (by_id)"
    ]


def test_a_change_of_a_document_is_not_one_of_another_document() -> None:
    app = create_app(rate_limit_fields="both")
    view = deprecated(since="2026-01-31")(require_oauth("notes:read", limit="5/minute")(lambda: ""))
    app.add_url_rule("/api/notes", "notes", view)

    def change(part: Any) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            change(value)
        if isinstance(part, dict):
            part["x-changed"] = {}

    for build in (lambda: build_document(app), lambda: secured({"/api/notes": {"get": OK}}, app)):
        first, second = build(), build()
        change(first)
        assert second == build()
        assert "x-changed" not in json.dumps(second)
