"""JSON Schemas of Python types in OpenAPI documents: containers of TypedDicts, values that JSON does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel, Field

from tests.support.openapi_apps import create_notes_app
from valetkey import describe, public
from valetkey.openapi.document import build_document

T = TypeVar("T")


class Line(TypedDict):
    """A line of a text."""

    number: int
    next: NotRequired[Line]


@dataclass
class Text:
    first: Line
    others: list[Text] = field(default_factory=list)
    language: Annotated[str, Field(max_length=2)] = "en"


class Page(TypedDict, Generic[T]):
    items: list[T]


def schemas_of(*types: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each type as a response, and the components of the document."""
    app = create_notes_app()
    for number, response in enumerate(types):
        app.add_url_rule(f"/api/{number}", f"view{number}", describe(response=response)(public(dict)))
    document = build_document(app)
    validate(document)
    json.dumps(document, allow_nan=False)
    responses = [item["get"]["responses"]["200"] for item in document["paths"].values()]
    return [response["content"]["application/json"]["schema"] for response in responses], document["components"]


LINE = {"$ref": "#/components/schemas/Line"}
LINES = {"type": "array", "items": LINE}


@pytest.mark.parametrize(
    ("python_type", "schema"),
    [
        (Line, LINE),
        (list[Line], LINES),
        (Sequence[Line], LINES),
        (tuple[Line, ...], LINES),
        (Mapping[str, Line], {"type": "object", "additionalProperties": LINE}),
        (dict[str, list[Line]], {"type": "object", "additionalProperties": LINES}),
        (list[Annotated[Line, "x"]], LINES),
        (Annotated[list[Line], Field(min_length=1)], {**LINES, "minItems": 1}),
        (Line | None, {"anyOf": [LINE, {"type": "null"}]}),
        (
            list[Line | Literal["end"]],
            {"type": "array", "items": {"anyOf": [LINE, {"type": "string", "const": "end"}]}},
        ),
        (list[Text], {"type": "array", "items": {"$ref": "#/components/schemas/Text"}}),
        (Page[Line], {"$ref": "#/components/schemas/Page"}),
    ],
    ids=str,
)
def test_containers_of_typed_dicts_are_documented_as_what_they_are(python_type: Any, schema: dict[str, Any]) -> None:
    [found], _ = schemas_of(python_type)

    if "$ref" not in found and found.get("properties"):
        assert schema["$ref"].endswith(found["title"]), "pydantic writes a type that is used once inline"
    else:
        assert found == schema


def test_a_type_with_typed_dicts_is_one_component_also_if_it_is_used_several_times() -> None:
    _, components = schemas_of(list[Line], Line, list[Text], Text, Mapping[str, Text])

    assert sorted(components["schemas"]) == ["Line", "Problem", "Text"]
    assert components["schemas"]["Line"]["description"] == "A line of a text."
    assert components["schemas"]["Line"]["required"] == ["number"]
    text = components["schemas"]["Text"]
    assert (text["required"], text["properties"]["language"]["default"]) == (["first"], "en")
    assert text["properties"]["others"]["items"] == {"$ref": "#/components/schemas/Text"}


class Bounds(BaseModel):
    lowest: float = Field(default=0, lt=float("inf"))
    highest: float = float("inf")
    pair: list[float] = [1, float("nan")]
    shape: dict[str, Any] = Field(default={"type": "array"}, examples=[{"type": "array"}, float("-inf")])
    default: list[tuple[int, int]] = []


def test_values_are_unchanged_except_those_that_json_does_not_have() -> None:
    _, components = schemas_of(list[Bounds])

    properties = components["schemas"]["Bounds"]["properties"]
    assert properties["lowest"] == {"type": "number", "default": 0}
    assert properties["highest"] == {"type": "number"}
    assert "default" not in properties["pair"]
    assert properties["shape"]["default"] == {"type": "array"}
    assert "examples" not in properties["shape"]
    assert properties["default"]["items"]["items"] == {}, "a member may be named like a keyword"
