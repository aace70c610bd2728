"""Breaking changes from an old OpenAPI document to a new one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from valetkey.openapi.diff.operations import breaking_changes

Document = dict[str, Any]


def _document() -> Document:
    note = {
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": {"type": "string", "maxLength": 200},
            "colour": {"type": "string", "enum": ["red", "green"]},
            "size": {"type": ["integer", "null"]},
        },
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}
    item = {
        "type": "object",
        "required": ["id", "text"],
        "properties": {"id": {"type": "integer"}, "text": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Notes", "version": "1"},
        "paths": {
            "/notes/{note_id}": {
                "parameters": [{"name": "note_id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "get": {
                    "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}],
                    "security": [{"oauth2": ["read"]}, {"bearer": ["read"]}],
                    "responses": {
                        "200": {
                            "description": "OK",
                            "content": {"application/json": {"schema": {"type": "array", "items": item}}},
                        }
                    },
                },
                "put": {"requestBody": {"content": content}, "security": [], "responses": {"204": {"description": ""}}},
            },
            "/status": {"get": {"responses": {"200": {"description": "OK"}}}},
        },
        "components": {"schemas": {"Note": note}},
    }


GET, NOTE = ("paths", "/notes/{note_id}", "get"), ("components", "schemas", "Note")
ITEM = (*GET, "responses", "200", "content", "application/json", "schema", "items")


def _at(document: Document, *path: str) -> Any:
    for name in path:
        document = document[name]
    return document


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "removed path": (lambda d: d["paths"].pop("/status"), "the path /status was removed"),
    "removed operation": (
        lambda d: d["paths"]["/notes/{note_id}"].pop("put"),
        "the operation PUT /notes/{note_id} was removed",
    ),
    "removed parameter": (
        lambda d: _at(d, *GET)["parameters"].clear(),
        "the query parameter q of GET /notes/{note_id} was removed",
    ),
    "parameter becomes required": (
        lambda d: _at(d, *GET)["parameters"][0].update(required=True),
        "the query parameter q of GET /notes/{note_id} is now required",
    ),
    "new required parameter": (
        lambda d: _at(d, *GET)["parameters"].append({"name": "of", "in": "query", "required": True, "schema": {}}),
        "GET /notes/{note_id} has a new required query parameter, of",
    ),
    "body member becomes required": (
        lambda d: _at(d, *NOTE)["required"].append("colour"),
        "the member colour of the body of PUT /notes/{note_id} is now required",
    ),
    "new required body member": (
        lambda d: _at(d, *NOTE)["required"].append("size2"),
        "the member size2 of the body of PUT /notes/{note_id} is new and required",
    ),
    "body becomes required": (
        lambda d: d["paths"]["/notes/{note_id}"]["put"]["requestBody"].update(required=True),
        "the body of PUT /notes/{note_id} is now required",
    ),
    "narrower type": (
        lambda d: _at(d, *NOTE)["properties"]["size"].update(type="integer"),
        "the member size of the body of PUT /notes/{note_id} must now be integer, not null",
    ),
    "narrower enum": (
        lambda d: _at(d, *NOTE)["properties"]["colour"].update(enum=["red"]),
        "the member colour of the body of PUT /notes/{note_id} may no longer be green",
    ),
    "lower maximum": (
        lambda d: _at(d, *NOTE)["properties"]["text"].update(maxLength=100),
        "the member text of the body of PUT /notes/{note_id} now has a lower maxLength, 100",
    ),
    "removed response member": (
        lambda d: _at(d, *ITEM)["properties"].pop("text"),
        "the member text of an item of the 200 response of GET /notes/{note_id} was removed",
    ),
    "response member becomes optional": (
        lambda d: _at(d, *ITEM)["required"].remove("id"),
        "the member id of an item of the 200 response of GET /notes/{note_id} may now be missing",
    ),
    "wider response type": (
        lambda d: _at(d, *ITEM)["properties"]["id"].update(type=["integer", "string"]),
        "the member id of an item of the 200 response of GET /notes/{note_id} may now be string, not only integer",
    ),
    "removed status": (
        lambda d: d["paths"]["/status"]["get"].update(responses={"204": {"description": ""}}),
        "GET /status no longer returns 200",
    ),
    "additional scope": (
        lambda d: _at(d, *GET).update(security=[{"oauth2": ["read", "write"]}, {"bearer": ["read", "write"]}]),
        "GET /notes/{note_id} now needs the scope write",
    ),
    "access token required": (
        lambda d: d["paths"]["/notes/{note_id}"]["put"].update(security=[{"oauth2": []}]),
        "PUT /notes/{note_id} now needs an access token",
    ),
    "other type of a path parameter": (
        lambda d: d["paths"]["/notes/{note_id}"]["parameters"][0].update(schema={"type": "string", "enum": ["a"]}),
        "the path parameter note_id of GET /notes/{note_id} must now be string, not integer",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_breaking_change_is_reported_in_a_sentence(name: str) -> None:
    change, sentence = BREAKS[name]
    new = _document()
    change(new)
    sentences = list(breaking_changes(_document(), new))
    assert sentence in sentences
    assert len(sentences) <= 4


COMPATIBLE: dict[str, Callable[[Document], object]] = {
    "no change": lambda d: None,
    "new path": lambda d: d["paths"].update({"/more": {"get": {"responses": {}}}}),
    "new optional parameter": lambda d: _at(d, *GET)["parameters"].append({"name": "n", "in": "query", "schema": {}}),
    "new optional body member": lambda d: _at(d, *NOTE)["properties"].update(more={"type": "string"}),
    "body member becomes optional": lambda d: _at(d, *NOTE)["required"].clear(),
    "wider enum": lambda d: _at(d, *NOTE)["properties"]["colour"]["enum"].append("blue"),
    "higher maximum": lambda d: _at(d, *NOTE)["properties"]["text"].update(maxLength=500),
    "new response member": lambda d: _at(d, *ITEM)["properties"].update(more={"type": "string"}),
    "fewer scopes": lambda d: _at(d, *GET).update(security=[{"oauth2": []}, {"bearer": []}]),
    "alternative scope": lambda d: _at(d, *GET)["security"].append({"oauth2": ["admin"]}),
    "renamed path parameter": lambda d: d["paths"].update({"/notes/{id}": d["paths"].pop("/notes/{note_id}")}),
    "number instead of integer": lambda d: _at(d, *NOTE)["properties"]["size"].update(type=["number", "null"]),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_additions_and_relaxed_requirements_are_compatible(name: str) -> None:
    new = copy.deepcopy(_document())
    COMPATIBLE[name](new)
    assert list(breaking_changes(_document(), new)) == []


def _parameter(name: str, kind: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def test_an_extension_of_the_paths_is_no_path() -> None:
    old = _document()
    old["paths"]["x-group"] = {"get": {"responses": {}}}

    assert list(breaking_changes(old, _document())) == []
    assert list(breaking_changes(_document(), old)) == []


def test_path_parameters_may_be_listed_in_another_order() -> None:
    def document(*parameters: Document) -> Document:
        return {"paths": {"/a/{x}/{y}": {"get": {"parameters": [*parameters], "responses": {}}}}}

    x, y = _parameter("x", "integer"), _parameter("y", "string")

    assert list(breaking_changes(document(x, y), document(y, x))) == []
    assert list(breaking_changes(document(x, y), document(_parameter("x", "string"), y))) == [
        "the path parameter x of GET /a/{x}/{y} must now be string, not integer"
    ]


def test_paths_that_differ_in_parameter_names_are_compared_with_themselves() -> None:
    operation = {"responses": {}}
    old: Document = {"paths": {"/a/{id}": {"get": operation, "put": operation}, "/a/{slug}": {"delete": operation}}}

    assert list(breaking_changes(old, old)) == []
    merged = {"paths": {"/a/{name}": {"get": operation, "put": operation, "delete": operation}}}
    assert list(breaking_changes(old, merged)) == []
    assert list(breaking_changes(old, {"paths": {"/a/{id}": {"get": operation}, "/a/{slug}": {"put": operation}}})) == [
        "the operation PUT /a/{id} was removed",
        "the operation DELETE /a/{slug} was removed",
    ]
