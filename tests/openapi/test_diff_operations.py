"""What breaks for whoever relies on an older OpenAPI document."""

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
    answer = {
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
                            "content": {"application/json": {"schema": {"type": "array", "items": answer}}},
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
ANSWER = (*GET, "responses", "200", "content", "application/json", "schema", "items")


def _at(document: Document, *path: str) -> Any:
    for name in path:
        document = document[name]
    return document


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a path": (lambda d: d["paths"].pop("/status"), "the path /status is gone"),
    "an operation": (
        lambda d: d["paths"]["/notes/{note_id}"].pop("put"),
        "the operation PUT /notes/{note_id} is gone",
    ),
    "a parameter": (
        lambda d: _at(d, *GET)["parameters"].clear(),
        "the query parameter q of GET /notes/{note_id} is gone",
    ),
    "a parameter made required": (
        lambda d: _at(d, *GET)["parameters"][0].update(required=True),
        "the query parameter q of GET /notes/{note_id} is required now",
    ),
    "a new required parameter": (
        lambda d: _at(d, *GET)["parameters"].append({"name": "of", "in": "query", "required": True, "schema": {}}),
        "GET /notes/{note_id} has a new required query parameter, of",
    ),
    "a member of the body made required": (
        lambda d: _at(d, *NOTE)["required"].append("colour"),
        "the member colour of the body of PUT /notes/{note_id} is required now",
    ),
    "a new required member of the body": (
        lambda d: _at(d, *NOTE)["required"].append("size2"),
        "the member size2 of the body of PUT /notes/{note_id} is new and required",
    ),
    "a body made required": (
        lambda d: d["paths"]["/notes/{note_id}"]["put"]["requestBody"].update(required=True),
        "the body of PUT /notes/{note_id} is required now",
    ),
    "a narrowed type": (
        lambda d: _at(d, *NOTE)["properties"]["size"].update(type="integer"),
        "the member size of the body of PUT /notes/{note_id} must be integer now, not null",
    ),
    "a narrowed enum": (
        lambda d: _at(d, *NOTE)["properties"]["colour"].update(enum=["red"]),
        "the member colour of the body of PUT /notes/{note_id} may not be green any more",
    ),
    "a lower bound": (
        lambda d: _at(d, *NOTE)["properties"]["text"].update(maxLength=100),
        "the member text of the body of PUT /notes/{note_id} has a lower maxLength now, 100",
    ),
    "a member of the answer": (
        lambda d: _at(d, *ANSWER)["properties"].pop("text"),
        "the member text of an item of the answer 200 of GET /notes/{note_id} is gone",
    ),
    "a member of the answer that may be missing": (
        lambda d: _at(d, *ANSWER)["required"].remove("id"),
        "the member id of an item of the answer 200 of GET /notes/{note_id} may be missing now",
    ),
    "another type in the answer": (
        lambda d: _at(d, *ANSWER)["properties"]["id"].update(type=["integer", "string"]),
        "the member id of an item of the answer 200 of GET /notes/{note_id} may be string now, not only integer",
    ),
    "a status": (
        lambda d: d["paths"]["/status"]["get"].update(responses={"204": {"description": ""}}),
        "GET /status answers 200 no more",
    ),
    "a scope": (
        lambda d: _at(d, *GET).update(security=[{"oauth2": ["read", "write"]}, {"bearer": ["read", "write"]}]),
        "GET /notes/{note_id} needs the scope write now",
    ),
    "a token": (
        lambda d: d["paths"]["/notes/{note_id}"]["put"].update(security=[{"oauth2": []}]),
        "PUT /notes/{note_id} needs an access token now",
    ),
    "a path parameter's type": (
        lambda d: d["paths"]["/notes/{note_id}"]["parameters"][0].update(schema={"type": "string", "enum": ["a"]}),
        "the path parameter note_id of GET /notes/{note_id} must be string now, not integer",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_callers_is_told_in_a_sentence(name: str) -> None:
    change, sentence = BREAKS[name]
    new = _document()
    change(new)
    told = list(breaking_changes(_document(), new))
    assert sentence in told
    assert len(told) <= 4


COMPATIBLE: dict[str, Callable[[Document], object]] = {
    "nothing": lambda d: None,
    "a new path": lambda d: d["paths"].update({"/more": {"get": {"responses": {}}}}),
    "a new optional parameter": lambda d: _at(d, *GET)["parameters"].append({"name": "n", "in": "query", "schema": {}}),
    "a new optional member of the body": lambda d: _at(d, *NOTE)["properties"].update(more={"type": "string"}),
    "a member of the body that may be left out": lambda d: _at(d, *NOTE)["required"].clear(),
    "a wider enum": lambda d: _at(d, *NOTE)["properties"]["colour"]["enum"].append("blue"),
    "a higher bound": lambda d: _at(d, *NOTE)["properties"]["text"].update(maxLength=500),
    "a new member of the answer": lambda d: _at(d, *ANSWER)["properties"].update(more={"type": "string"}),
    "a scope less": lambda d: _at(d, *GET).update(security=[{"oauth2": []}, {"bearer": []}]),
    "another way in": lambda d: _at(d, *GET)["security"].append({"oauth2": ["admin"]}),
    "a variable's name": lambda d: d["paths"].update({"/notes/{id}": d["paths"].pop("/notes/{note_id}")}),
    "number for integer": lambda d: _at(d, *NOTE)["properties"]["size"].update(type=["number", "null"]),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_what_is_added_or_allowed_besides_breaks_nobody(name: str) -> None:
    new = copy.deepcopy(_document())
    COMPATIBLE[name](new)
    assert list(breaking_changes(_document(), new)) == []
