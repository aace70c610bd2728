"""Follow ``$ref`` in an OpenAPI document: the one resolver that the API reference and the diff share."""

from __future__ import annotations

from typing import Any

import pytest

from valetkey.openapi.references import follow_reference, referenced_schema_name

DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "Note": {"type": "object"},
            "Alias": {"$ref": "#/components/schemas/Note"},
            "Circle": {"$ref": "#/components/schemas/Circle"},
            "a/b~c d": {"type": "string"},
            "Text": "not an object",
        }
    }
}


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("#/components/schemas/Note", {"type": "object"}),
        ("#/components/schemas/Alias", {"type": "object"}),
        ("#/components/schemas/a~1b~0c%20d", {"type": "string"}),
        ("#/components/schemas/Circle", {}),
        ("#/components/schemas/Missing", {}),
        ("#/components/schemas/Note/type/deeper", {}),
        ("#/components/schemas/Text", {}),
        ("other.json#/components/schemas/Note", {}),
    ],
)
def test_a_reference_is_followed_to_its_object_or_to_an_empty_one(reference: str, target: dict[str, Any]) -> None:
    assert follow_reference({"$ref": reference}, DOCUMENT) == target


def test_a_part_without_a_reference_is_returned_as_it_is() -> None:
    part = {"type": "integer"}

    assert follow_reference(part, DOCUMENT) is part


def test_the_name_of_a_referenced_schema_is_unescaped() -> None:
    assert referenced_schema_name({"$ref": "#/components/schemas/a~1b~0c%20d"}) == "a/b~c d"
    assert referenced_schema_name({"$ref": "#/components/responses/Note"}) == ""
    assert referenced_schema_name({}) == ""
