"""What a change of a JSON Schema does to those who send such values, and to those who read them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from valetkey.openapi.diff.operations import breaking_changes
from valetkey.openapi.diff.resolver import SchemaResolver
from valetkey.openapi.diff.schemas import RequestDiff, ResponseDiff

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def thing(*required: str, **members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(required)}


def text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def kind(value: str) -> dict[str, Any]:
    return thing("kind", kind=text(const=value))


PET = {"$ref": "#/components/schemas/Pet"}
MAP = {"type": "object", "additionalProperties": NUMBER}
MAP_OF_TEXT = {"type": "object", "additionalProperties": TEXT}
LIST = {"type": "array", "items": NUMBER}

# Schemas before and after; the component Pet before and after; what it is for senders and for readers, or None.
CHANGES: dict[str, tuple[Any, Any, Any, Any, str | None, str | None]] = {
    "a member of what may be null goes": (
        optional(PET), optional(PET), thing("a", a=NUMBER, b=NUMBER), thing("a", a=NUMBER),
        None, "the member b of X is gone",
    ),
    "what may be null gets a required member": (
        thing(pet=optional(PET)), thing(pet=optional(PET)), thing(), thing("b", b=NUMBER),
        "the member b of the member pet of X is new and required", None,
    ),
    "the values of a map change": (
        MAP, MAP_OF_TEXT, None, None,
        "a value of X must be string now, not integer", "a value of X may be string now, not only integer",
    ),
    "a choice of values becomes one": (
        text(enum=["a", "b"]), text(const="a"), None, None, "X may not be b any more", None,
    ),
    "the one value is another": (
        text(const="a"), text(const="b"), None, None, "X may not be a any more", "X may be b now, not only a",
    ),
    "the one value gets company": (
        text(const="a"), text(enum=["a", "b"]), None, None, None, "X may be b now, not only a",
    ),
    "the choice of values is free": (
        text(enum=["a"]), TEXT, None, None, None, "X may be any value now, not only a",
    ),
    "a format comes": (TEXT, text(format="uuid"), None, None, "X must be a uuid now", None),
    "a format goes": (text(format="uuid"), TEXT, None, None, None, "X is no uuid any more"),
    "a format changes": (
        text(format="date-time"), text(format="date"), None, None,
        "X must be a date now", "X is no date-time any more",
    ),
    "further members are refused": (
        thing(a=NUMBER), {**thing(a=NUMBER), "additionalProperties": False}, None, None,
        "X takes no further members now", None,
    ),
    "a part of a whole goes": (
        {"allOf": [thing(a=NUMBER), thing(b=NUMBER)]}, {"allOf": [thing(a=NUMBER)]}, None, None,
        None, "the member b of X is gone",
    ),
    "a reference is beside its description": (
        {**PET, "description": "Before"}, {**PET, "description": "After"}, thing(a=NUMBER), thing(),
        None, "the member a of X is gone",
    ),
    "an alternative goes": (
        {"oneOf": [kind("cat"), kind("dog"), kind("cow")]}, {"oneOf": [kind("cat"), kind("dog")]}, None, None,
        "X may not be object as it was", None,
    ),
    "an alternative comes": (
        {"oneOf": [kind("cat"), kind("dog")]}, {"oneOf": [kind("cat"), kind("dog"), kind("cow")]}, None, None,
        None, "X may be object now, as it never was",
    ),
    "items may not be twice": (LIST, {**LIST, "uniqueItems": True}, None, None,
        "X may not have an item twice any more", None,
    ),
    "only some numbers are taken": (NUMBER, {**NUMBER, "multipleOf": 5}, None, None,
        "X must be a multiple of 5 now", None,
    ),
    "the first of a pair changes": (
        {"type": "array", "prefixItems": [NUMBER, TEXT]}, {"type": "array", "prefixItems": [TEXT, TEXT]}, None, None,
        "an item of X must be string now, not integer", "an item of X may be string now, not only integer",
    ),
    "what is left out means something else": (
        {**NUMBER, "default": 20}, {**NUMBER, "default": 50}, None, None,
        "X means 50 now where it is left out, not 20", None,
    ),
    "the component has another name only": (PET, thing(a=NUMBER), thing(a=NUMBER), None, None, None),
    "null is told in another way": ({"type": ["string", "null"]}, optional(TEXT), None, None, None, None),
    "anything may be": (True, {}, None, None, None, None),
    "the longest may be longer": (text(maxLength=5), text(maxLength=9), None, None, None, None),
}  # fmt: skip


def of_components(pet: Any) -> SchemaResolver:
    return SchemaResolver({"components": {"schemas": {"Pet": pet or {}}}})


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told_to_whom_it_concerns(name: str) -> None:
    before, after, old_pet, new_pet, for_senders, for_readers = CHANGES[name]
    old, new = of_components(old_pet), of_components(new_pet)

    sent = [f"{one.location}X {one.description}" for one in RequestDiff(old, new).compare(before, after)]
    read = [f"{one.location}X {one.description}" for one in ResponseDiff(new, old).compare(after, before)]

    assert (sent, read) == ([for_senders] if for_senders else [], [for_readers] if for_readers else [])


def test_schemas_that_hold_each_other_many_times_are_compared_in_no_time() -> None:
    """Compared again wherever they stand, these would be ten million."""
    tree = thing(**{f"branch{number}": PET for number in range(10)})
    grown = {**tree, "properties": {**tree["properties"], "branch0": TEXT}}
    began = time.monotonic()

    told = ResponseDiff(of_components(grown), of_components(tree)).compare(PET, PET)

    assert [one.location for one in told] == ["the member branch0 of "]
    assert time.monotonic() - began < 1


def test_statuses_headers_and_media_types_are_the_same_however_they_are_written() -> None:
    def document(status: str, header: str, kind: str) -> dict[str, Any]:
        answer = {"description": "OK", "content": {kind: {"schema": NUMBER}}}
        parameter = {"name": header, "in": "header", "schema": TEXT}
        return {"paths": {"/a": {"get": {"parameters": [parameter], "responses": {status: answer}}}}}

    old = document("200", "If-Match", "application/json")

    for new in (
        document("2XX", "if-match", "Application/JSON; charset=utf-8"),
        document("default", "IF-MATCH", "application/json"),
    ):
        assert list(breaking_changes(old, new)) == []
