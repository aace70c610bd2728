"""JSON Schemas as the API reference page shows them: text, members, examples and fields of forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from valetkey.developer_portal.reference import Operation, build_api_reference
from valetkey.developer_portal.schema_text import SchemaDescriber

ISSUER = "https://api.example.com"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer, 1 or more, 9 or less"),
        ({"type": "string", "minLength": 2, "maxLength": 2}, "string, 2 characters"),
        ({"type": "string", "format": "uuid"}, "string (uuid)"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Note"}}, "list of Note"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["a", None, 3]}, "one of a, null, 3"),
        ({"type": ["string", "null"]}, "string or null"),
        ({}, "any"),
        (True, "any"),
        (False, "none"),
        ({"type": "array", "items": False}, "list of none"),
        (
            {
                "type": "array",
                "prefixItems": [{"type": "number"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
                "items": {},
            },
            "[number, string]",
        ),
        ({"allOf": [{"$ref": "#/components/schemas/Note"}], "description": "A note"}, "Note"),
        ({"allOf": [{"$ref": "#/components/schemas/Note"}, {"properties": {"id": {"type": "integer"}}}]}, "object"),
    ],
)
def test_a_schema_is_described_as_text(schema: Any, text: str) -> None:
    assert SchemaDescriber({"components": {"schemas": {"Note": {"type": "object"}}}}).describe_type(schema) == text


def test_members_and_example_of_a_recursive_schema_are_finite() -> None:
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "below": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
        },
    }
    describer = SchemaDescriber({"components": {"schemas": {"Tree": tree}}})
    assert [member.name for member in describer.members({"$ref": "#/components/schemas/Tree"})] == ["name", "below"]
    assert describer.example(tree) == {"name": "text", "below": [{"name": "text", "below": [{}]}]}


def graph(count: int, references: int) -> dict[str, Any]:
    """Return component schemas, each of which refers to several others and requires them."""
    schemas: dict[str, Any] = {}
    for number in range(count):
        names = [f"m{offset}" for offset in range(references)]
        members = {
            name: {"$ref": f"#/components/schemas/C{(number + offset + 1) % count}", "description": "Another"}
            for offset, name in enumerate(names)
        }
        schemas[f"C{number}"] = {"type": "object", "properties": members, "required": names}
    return schemas


@pytest.mark.parametrize(("count", "references"), [(8, 6), (100, 50)])
def test_members_and_examples_of_schemas_that_refer_to_each_other_are_short(count: int, references: int) -> None:
    describer = SchemaDescriber({"components": {"schemas": graph(count, references)}})

    members = describer.members({"$ref": "#/components/schemas/C0"})
    example = describer.example({"$ref": "#/components/schemas/C0"})

    assert [member.name for member in members if member.depth == 0] == [f"m{number}" for number in range(references)]
    assert len(members) <= min(count * references, 100 + 4 * references)
    assert len(json.dumps(example)) < 10_000
    assert set(example) == {f"m{number}" for number in range(references)}


def test_a_component_that_is_used_twice_has_an_example_at_each_place() -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}}
    describer = SchemaDescriber({"components": {"schemas": {"Address": address}}})
    reference = {"$ref": "#/components/schemas/Address"}

    example = describer.example({"type": "object", "properties": {"from": reference, "to": reference}})

    assert example == {"from": {"city": "text"}, "to": {"city": "text"}}


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": True}}]}, {"a": 1, "b": None}),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": {}}, [1.5, "text"]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": ["null", "string"]}, None),
        ({"$ref": "#/components/schemas/Circle"}, None),
    ],
)
def test_examples_are_of_the_type_of_the_schema(schema: dict[str, Any], example: Any) -> None:
    circle = {"anyOf": [{"$ref": "#/components/schemas/Circle"}]}

    assert SchemaDescriber({"components": {"schemas": {"Circle": circle}}}).example(schema) == example


def operation_of(path: str, method: str, operation: dict[str, Any], **document: Any) -> Operation:
    whole = {"info": {"title": "A", "version": "1"}, "paths": {path: {method: {"responses": {}, **operation}}}}
    [(_, [found])] = build_api_reference({**whole, **document}, ISSUER).groups
    return found


COLOR = {"enum": ["red", "green", None]}


@pytest.mark.parametrize(
    ("schema", "is_list", "choices"),
    [
        ({"type": "array", "items": {"type": "integer"}}, True, ()),
        ({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}, True, ()),
        ({"type": ["array", "null"], "items": {"type": "integer"}}, True, ()),
        ({"anyOf": [{"type": "array"}, {"type": "integer"}]}, False, ()),
        ({"$ref": "#/components/schemas/Color"}, False, ("red", "green")),
        ({"anyOf": [{"$ref": "#/components/schemas/Color"}, {"type": "null"}]}, False, ("red", "green")),
        ({"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}, False, ("a", "b", "c")),
        ({"anyOf": [{"const": "a"}, {"type": "string"}]}, False, ()),
    ],
)
def test_parameters_that_may_be_null_have_the_field_of_those_that_may_not(
    schema: dict[str, Any], is_list: bool, choices: tuple[str, ...]
) -> None:
    parameter = {"name": "p", "in": "query", "schema": schema}
    operation = operation_of("/a", "get", {"parameters": [parameter]}, components={"schemas": {"Color": COLOR}})

    [shown] = operation.parameters
    assert (shown.is_array, shown.choices) == (is_list, choices)


def test_a_get_with_a_body_is_shown_as_it_is_and_cannot_be_tried() -> None:
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}

    get, post = (operation_of("/a", method, {"requestBody": body}) for method in ("get", "post"))

    assert get.curl.startswith(f"curl -X GET {ISSUER}/a") and "-d '{}'" in get.curl
    assert (get.can_be_tried, post.can_be_tried) == (False, True)


def test_curl_asks_for_headers_only_with_head_and_repeats_lists() -> None:
    ids = {"name": "ids", "in": "query", "required": True, "schema": {"type": "array", "default": [1, 2]}}

    assert operation_of("/a", "head", {}).curl == f"curl --head {ISSUER}/a"
    assert operation_of("/a", "get", {"parameters": [ids]}).curl == f"curl '{ISSUER}/a?ids=1&ids=2'"


@pytest.mark.parametrize(
    ("servers", "path", "curl"),
    [
        ([], "/a", f"{ISSUER}/a"),
        ([{"url": f"{ISSUER}/v1/"}], "/v1/a", f"{ISSUER}/v1/a"),
        ([{"url": "/v1"}], "/v1/a", f"{ISSUER}/v1/a"),
        (
            [{"url": "{base}/v1", "variables": {"base": {"default": "https://b.example"}}}],
            "/v1/a",
            "https://b.example/v1/a",
        ),
        ([{"url": "https://[broken"}], "/a", f"{ISSUER}/a"),
    ],
)
def test_the_path_of_the_server_belongs_to_the_path_of_an_operation(servers: Any, path: str, curl: str) -> None:
    operation = operation_of("/a", "get", {}, servers=servers)

    assert (operation.path, operation.curl) == (path, f"curl {curl}")


def test_the_path_below_an_issuer_with_a_path_is_without_it() -> None:
    document = {"info": {"title": "A", "version": "1"}, "paths": {"/a": {"get": {"responses": {}}}}}

    [(_, [operation])] = build_api_reference(document, f"{ISSUER}/base").groups

    assert (operation.path, operation.curl) == ("/a", f"curl {ISSUER}/base/a")
