"""A JSON Schema in words, as a list of its members, and as an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    """One member of an object, with how deep it is nested."""

    name: str
    depth: int
    type_text: str
    required: bool
    description: str


class SchemaDescriber:
    """Reads the schemas of one document."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components

    def resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema that a reference or a lone ``allOf`` leads to; what stands beside a reference counts more."""
        reference = str(schema.get("$ref", ""))
        if reference:
            found = self._components.get(reference.rpartition("/")[2], {})
            return {**self.resolve(found), **{name: value for name, value in schema.items() if name != "$ref"}}
        if len(schema.get("allOf", ())) == 1:
            return {
                **self.resolve(schema["allOf"][0]),
                **{name: one for name, one in schema.items() if name != "allOf"},
            }
        return schema

    def describe_type(self, schema: Mapping[str, Any], depth: int = 0) -> str:
        """The type and its bounds, such as ``integer, 1 or more`` or ``list of Note``."""
        named = str(schema.get("$ref", "")).rpartition("/")[2]
        if named and self.resolve(schema).get("type") == "object":
            return named
        schema = self.resolve(schema)
        if "const" in schema:
            return f"always {_format_value(schema['const'])}"
        if "enum" in schema:
            return "one of " + ", ".join(_format_value(one) for one in schema["enum"])
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices and depth < _MAX_DEPTH:
            return " or ".join(dict.fromkeys(self.describe_type(one, depth + 1) for one in choices))
        return ", ".join([self._describe_plain_type(schema, depth), *_describe_bounds(schema)])

    def _describe_plain_type(self, schema: Mapping[str, Any], depth: int) -> str:
        told = schema.get("type", "any")
        if isinstance(told, list):
            return " or ".join(told)
        if told == "array" and depth < _MAX_DEPTH:
            return f"list of {self.describe_type(schema.get('items', {}), depth + 1)}"
        return f"{told} ({schema['format']})" if "format" in schema else str(told)

    def members(self, schema: Mapping[str, Any], depth: int = 0) -> Iterator[SchemaMember]:
        """Every member of an object or of a list's objects, those of members after them, four levels deep."""
        schema = self._find_object(schema)
        for name, one in schema.get("properties", {}).items():
            found = self.resolve(one)
            described = str(found.get("description", "")) if "$ref" not in one else str(one.get("description", ""))
            yield SchemaMember(name, depth, self.describe_type(one), name in schema.get("required", ()), described)
            if depth + 1 < _MAX_DEPTH:
                yield from self.members(one, depth + 1)

    def _find_object(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        schema = self.resolve(schema)
        if schema.get("type") == "array":
            return self._find_object(schema.get("items", {}))
        choices = [self.resolve(one) for one in schema.get("anyOf") or schema.get("oneOf") or ()]
        objects = [one for one in choices if "properties" in one]
        return objects[0] if len(objects) == 1 else schema

    def example(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """A value of this schema, for somebody to begin from."""
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
        told = schema.get("type")
        kind = told[0] if isinstance(told, list) else told
        if kind == "object":
            members = schema.get("properties", {}) if depth < _MAX_DEPTH else {}
            return {name: self.example(one, depth + 1) for name, one in members.items()}
        if kind == "array":
            return [self.example(schema["items"], depth + 1)] if depth < _MAX_DEPTH and "items" in schema else []
        if kind == "string":
            text = "text".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
            return _FORMAT_EXAMPLES.get(str(schema.get("format")), text)
        return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.5), "boolean": True}.get(
            str(kind)
        )


def _describe_bounds(schema: Mapping[str, Any]) -> list[str]:
    told = dict(schema)
    if told.get("type") == "string" and told.get("minLength") == 1:
        del told["minLength"]  # goes without saying
    if "minLength" in told and told["minLength"] == told.get("maxLength"):
        return [f"{told['minLength']} characters"]
    return [words.format(told[name]) for name, words in _BOUND_TEXTS.items() if name in told]


def _format_value(value: object) -> str:
    return "null" if value is None else str(value)
