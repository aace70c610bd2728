"""Breaking changes of a JSON Schema, as a request schema and as a response schema."""

from __future__ import annotations

import time
from typing import Any

import pytest

from valetkey.openapi.diff.operations import breaking_changes
from valetkey.openapi.diff.schemas import RequestDiff, ResponseDiff
from valetkey.openapi.schemas.resolver import SchemaResolver

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

OPEN_PAIR = {"type": "array", "prefixItems": [NUMBER, TEXT]}


def pair(*items: dict[str, Any]) -> dict[str, Any]:
    """Return a tuple's schema as pydantic makes it."""
    length = len(items)
    return {"type": "array", "prefixItems": list(items), "minItems": length, "maxItems": length, "items": {}}


# The schema before and after, the component Pet before and after, the breaking change in requests and in responses.
CHANGES: dict[str, tuple[Any, Any, Any, Any, str | None, str | None]] = {
    "a nullable object loses a member": (
        optional(PET), optional(PET), thing("a", a=NUMBER, b=NUMBER), thing("a", a=NUMBER),
        None, "the member b of X was removed",
    ),
    "a nullable object gets a required member": (
        thing(pet=optional(PET)), thing(pet=optional(PET)), thing(), thing("b", b=NUMBER),
        "the member b of the member pet of X is new and required", None,
    ),
    "the values of a map change": (
        MAP, MAP_OF_TEXT, None, None,
        "a value of X must now be string, not integer", "a value of X may now be string, not only integer",
    ),
    "an enum becomes a const": (
        text(enum=["a", "b"]), text(const="a"), None, None, "X may no longer be b", None,
    ),
    "the const changes": (
        text(const="a"), text(const="b"), None, None, "X may no longer be a", "X may now be b, not only a",
    ),
    "a const becomes an enum": (
        text(const="a"), text(enum=["a", "b"]), None, None, None, "X may now be b, not only a",
    ),
    "an enum is removed": (
        text(enum=["a"]), TEXT, None, None, None, "X may now be any value, not only a",
    ),
    "a format is added": (TEXT, text(format="uuid"), None, None, "X must now be a uuid", None),
    "a format is removed": (text(format="uuid"), TEXT, None, None, None, "X is no longer a uuid"),
    "a format changes": (
        text(format="date-time"), text(format="date"), None, None,
        "X must now be a date", "X is no longer a date-time",
    ),
    "additional members are refused": (
        thing(a=NUMBER), {**thing(a=NUMBER), "additionalProperties": False}, None, None,
        "X no longer accepts additional members", None,
    ),
    "a part of allOf is removed": (
        {"allOf": [thing(a=NUMBER), thing(b=NUMBER)]}, {"allOf": [thing(a=NUMBER)]}, None, None,
        None, "the member b of X was removed",
    ),
    "a reference has a description beside it": (
        {**PET, "description": "Before"}, {**PET, "description": "After"}, thing(a=NUMBER), thing(),
        None, "the member a of X was removed",
    ),
    "an alternative is removed": (
        {"oneOf": [kind("cat"), kind("dog"), kind("cow")]}, {"oneOf": [kind("cat"), kind("dog")]}, None, None,
        "X no longer accepts an alternative that it accepted, object", None,
    ),
    "an alternative is added": (
        {"oneOf": [kind("cat"), kind("dog")]}, {"oneOf": [kind("cat"), kind("dog"), kind("cow")]}, None, None,
        None, "X may now be a new alternative, object",
    ),
    "items must be unique": (LIST, {**LIST, "uniqueItems": True}, None, None,
        "X must now have unique items", None,
    ),
    "numbers must be multiples": (NUMBER, {**NUMBER, "multipleOf": 5}, None, None,
        "X must now be a multiple of 5", None,
    ),
    "the first type of a pair changes": (
        {"type": "array", "prefixItems": [NUMBER, TEXT]}, {"type": "array", "prefixItems": [TEXT, TEXT]}, None, None,
        "an item of X must now be string, not integer", "an item of X may now be string, not only integer",
    ),
    "a tuple gets longer": (
        pair(NUMBER, NUMBER), pair(NUMBER, NUMBER, NUMBER), None, None,
        "X now has a higher minItems, 3", "X may now have more than 2 items",
    ),
    "a tuple gets shorter": (
        pair(NUMBER, NUMBER, NUMBER), pair(NUMBER, NUMBER), None, None,
        "X now has a lower maxItems, 2", "X may now have less than 3 items",
    ),
    "an open tuple gets longer": (
        OPEN_PAIR, {**OPEN_PAIR, "prefixItems": [NUMBER, TEXT, TEXT]}, None, None,
        "an item of X must now be string, not any value", None,
    ),
    "a tuple is closed": (
        OPEN_PAIR, {**OPEN_PAIR, "items": False}, None, None, "X may no longer have more than 2 items", None,
    ),
    "a tuple is opened": (
        {**OPEN_PAIR, "items": False}, OPEN_PAIR, None, None, None, "X may now have more than 2 items",
    ),
    "a list becomes a tuple of the same items": (
        LIST, {**pair(NUMBER, NUMBER), "minItems": 0}, None, None, "X now has a lower maxItems, 2", None,
    ),
    "a list becomes a tuple of other items": (
        LIST, {"type": "array", "prefixItems": [TEXT], "items": NUMBER}, None, None,
        "an item of X must now be string, not integer", "an item of X may now be string, not only integer",
    ),
    "the default changes": (
        {**NUMBER, "default": 20}, {**NUMBER, "default": 50}, None, None,
        "X now defaults to 50, not 20", None,
    ),
    "a component is written inline": (PET, thing(a=NUMBER), thing(a=NUMBER), None, None, None),
    "null is written in another way": ({"type": ["string", "null"]}, optional(TEXT), None, None, None, None),
    "any value is written in another way": (True, {}, None, None, None, None),
    "the maximum length grows": (text(maxLength=5), text(maxLength=9), None, None, None, None),
}  # fmt: skip


def resolver_with_pet(pet: Any) -> SchemaResolver:
    return SchemaResolver({"components": {"schemas": {"Pet": pet or {}}}})


@pytest.mark.parametrize("name", CHANGES)
def test_a_schema_change_is_reported_for_requests_or_responses_or_both(name: str) -> None:
    before, after, old_pet, new_pet, in_requests, in_responses = CHANGES[name]
    old, new = resolver_with_pet(old_pet), resolver_with_pet(new_pet)

    request_differences = RequestDiff(old, new).compare(before, after)
    response_differences = ResponseDiff(new, old).compare(after, before)

    for differences, expected in ((request_differences, in_requests), (response_differences, in_responses)):
        sentences = [f"{difference.location}X {difference.description}" for difference in differences]
        assert sentences == ([expected] if expected else [])


def test_recursive_schemas_are_compared_in_less_than_a_second() -> None:
    """Without the cache of compared pairs, there would be ten million comparisons."""
    tree = thing(**{f"branch{number}": PET for number in range(10)})
    changed_tree = {**tree, "properties": {**tree["properties"], "branch0": TEXT}}
    started_at = time.monotonic()

    differences = ResponseDiff(resolver_with_pet(changed_tree), resolver_with_pet(tree)).compare(PET, PET)

    assert [difference.location for difference in differences] == ["the member branch0 of "]
    assert time.monotonic() - started_at < 1


def test_equivalent_statuses_header_names_and_media_types_are_equal() -> None:
    def document(status: str, header: str, media_type: str) -> dict[str, Any]:
        response = {"description": "OK", "content": {media_type: {"schema": NUMBER}}}
        parameter = {"name": header, "in": "header", "schema": TEXT}
        return {"paths": {"/a": {"get": {"parameters": [parameter], "responses": {status: response}}}}}

    old = document("200", "If-Match", "application/json")

    for new in (
        document("2XX", "if-match", "Application/JSON; charset=utf-8"),
        document("default", "IF-MATCH", "application/json"),
    ):
        assert list(breaking_changes(old, new)) == []
