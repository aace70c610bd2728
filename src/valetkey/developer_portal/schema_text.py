"""Describe a JSON Schema for the API reference page: as text, as a list of its members, and as an example value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.openapi.references import follow_reference, referenced_schema_name

_MAX_DEPTH = 4
_FORMAT_EXAMPLES = {
    "uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "email": "maya@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}
_BOUND_TEXTS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} or less",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matching {}",
}


@dataclass(frozen=True, slots=True)
class SchemaMember:
    """One member of a JSON object, as the API reference page shows it."""

    name: str
    depth: int  # 0 for a member of the described object, 1 for a member of such a member, ...
    type_text: str
    required: bool
    description: str


class SchemaDescriber:
    """Describes the JSON Schemas of one OpenAPI document.

    :param document: the OpenAPI document, to follow ``$ref``.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a JSON Schema with its ``$ref``, or its ``allOf`` of a single schema, replaced by that schema.

        The schema's other keywords override those of the schema that replaces the reference.
        """
        if "$ref" in schema:
            target = follow_reference(schema, self._document)
            return {**self.resolve(target), **{name: value for name, value in schema.items() if name != "$ref"}}
        if len(schema.get("allOf", ())) == 1:
            siblings = {name: value for name, value in schema.items() if name != "allOf"}
            return {**self.resolve(schema["allOf"][0]), **siblings}
        return schema

    def describe_type(self, schema: Mapping[str, Any], depth: int = 0) -> str:
        """Return the type and bounds of a JSON Schema in English: ``integer, 1 or more`` or ``list of Note``."""
        component = referenced_schema_name(schema)
        if component and self.resolve(schema).get("type") == "object":
            return component
        schema = self.resolve(schema)
        if "const" in schema:
            return f"always {_format_value(schema['const'])}"
        if "enum" in schema:
            return "one of " + ", ".join(_format_value(value) for value in schema["enum"])
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices and depth < _MAX_DEPTH:
            return " or ".join(dict.fromkeys(self.describe_type(choice, depth + 1) for choice in choices))
        return ", ".join([self._describe_plain_type(schema, depth), *_describe_bounds(schema)])

    def _describe_plain_type(self, schema: Mapping[str, Any], depth: int) -> str:
        json_type = schema.get("type", "any")
        if isinstance(json_type, list):
            return " or ".join(json_type)
        if json_type == "array" and depth < _MAX_DEPTH:
            return f"list of {self.describe_type(schema.get('items', {}), depth + 1)}"
        return f"{json_type} ({schema['format']})" if "format" in schema else str(json_type)

    def members(self, schema: Mapping[str, Any], depth: int = 0) -> Iterator[SchemaMember]:
        """Yield each member of an object schema, or of the objects in a list schema, followed by the member's members.

        Members are listed at most four levels deep, so that the list of a recursive schema ends.
        """
        schema = self._find_object(schema)
        for name, member in schema.get("properties", {}).items():
            described = member if "$ref" in member else self.resolve(member)  # a component's text is about its type
            description = str(described.get("description", ""))
            required = name in schema.get("required", ())
            yield SchemaMember(name, depth, self.describe_type(member), required, description)
            if depth + 1 < _MAX_DEPTH:
                yield from self.members(member, depth + 1)

    def _find_object(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schema of the object whose members a JSON Schema describes.

        That is the schema itself, the items of a list, or the only object among the alternatives. If there is none,
        the resolved schema is returned.
        """
        schema = self.resolve(schema)
        if schema.get("type") == "array":
            return self._find_object(schema.get("items", {}))
        choices = [self.resolve(choice) for choice in schema.get("anyOf") or schema.get("oneOf") or ()]
        objects = [choice for choice in choices if "properties" in choice]
        return objects[0] if len(objects) == 1 else schema

    def example(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """Return an example value of a JSON Schema.

        The value is the schema's ``example``, ``default`` or ``const``, the first of its ``examples`` or ``enum``, or
        an example of its first alternative; without these, a value is generated from the type.
        """
        schema = self.resolve(schema)
        for name in ("example", "default", "const"):
            if name in schema:
                return schema[name]
        for name in ("examples", "enum"):
            if schema.get(name):
                return schema[name][0]
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            return self.example(choices[0], depth + 1)
        return self._plain_example(schema, depth)

    def _plain_example(self, schema: Mapping[str, Any], depth: int) -> Any:
        types = schema.get("type")
        json_type = types[0] if isinstance(types, list) else types
        if json_type == "object":
            members = schema.get("properties", {}) if depth < _MAX_DEPTH else {}
            return {name: self.example(member, depth + 1) for name, member in members.items()}
        if json_type == "array":
            return [self.example(schema["items"], depth + 1)] if depth < _MAX_DEPTH and "items" in schema else []
        if json_type == "string":
            text = "text".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
            return _FORMAT_EXAMPLES.get(str(schema.get("format")), text)
        return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.5), "boolean": True}.get(
            str(json_type)
        )


def _describe_bounds(schema: Mapping[str, Any]) -> list[str]:
    bounds = dict(schema)
    if bounds.get("type") == "string" and bounds.get("minLength") == 1:
        del bounds["minLength"]  # not worth a line: it only excludes the empty string
    if "minLength" in bounds and bounds["minLength"] == bounds.get("maxLength"):
        return [f"{bounds['minLength']} characters"]
    return [text.format(bounds[name]) for name, text in _BOUND_TEXTS.items() if name in bounds]


def _format_value(value: object) -> str:
    return "null" if value is None else str(value)
