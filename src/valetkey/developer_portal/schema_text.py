"""Describe a JSON Schema for the API reference page: as text, as a list of its members, and as an example value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.openapi.references import referenced_schema_name
from valetkey.openapi.schemas.resolver import SchemaResolver, allowed_values

_MAX_DEPTH = 4
_MAX_ROWS = 100  # of a list of members, before it ends with those of the same object
_MAX_EXAMPLE_VALUES = 100
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
        self._resolver = SchemaResolver(document)

    def resolve(self, schema: Any) -> Mapping[str, Any]:
        """Return a JSON Schema with its ``$ref`` and ``allOf`` replaced by what they refer to."""
        return self._resolver.resolve(schema)

    def describe_type(self, schema: Any, depth: int = 0) -> str:
        """Return the type and bounds of a JSON Schema in English: ``integer, 1 or more`` or ``list of Note``."""
        name, schema = self._resolve_component(schema)
        if name and _json_types(schema) == ["object"]:
            return name
        if "const" in schema:
            return f"always {_format_value(schema['const'])}"
        if "enum" in schema:
            return "one of " + ", ".join(_format_value(value) for value in schema["enum"]) if schema["enum"] else "none"
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices and depth < _MAX_DEPTH:
            return " or ".join(dict.fromkeys(self.describe_type(choice, depth + 1) for choice in choices))
        return ", ".join([self._describe_plain_type(schema, depth), *_describe_bounds(schema)])

    def _describe_plain_type(self, schema: Mapping[str, Any], depth: int) -> str:
        json_types = _json_types(schema)
        if json_types == ["array"] and depth < _MAX_DEPTH:
            if "prefixItems" in schema:
                return f"[{', '.join(self.describe_type(item, depth + 1) for item in schema['prefixItems'])}]"
            return f"list of {self.describe_type(schema.get('items', {}), depth + 1)}"
        text = " or ".join(json_types) or "any"
        return f"{text} ({schema['format']})" if "format" in schema else text

    def members(self, schema: Any) -> tuple[SchemaMember, ...]:
        """Return the members of an object schema, or of the objects in a list schema, each followed by its members.

        The members of a component are listed once, those of other members only if the list is not long yet, and none
        is more than four levels deep. So the list is short, however many schemas refer to each other.
        """
        rows: list[SchemaMember] = []
        self._add_members(schema, 0, rows, set())
        return tuple(rows)

    def _add_members(self, schema: Any, depth: int, rows: list[SchemaMember], listed: set[str]) -> None:
        component, schema = self._find_object(schema)
        if component in listed:
            return
        listed |= {component} - {""}
        for name, member in schema.get("properties", {}).items():
            is_reference = isinstance(member, Mapping) and "$ref" in member
            described = member if is_reference else self.resolve(member)  # a component's text is about its type
            description = str(described.get("description", ""))
            required = name in schema.get("required", ())
            rows.append(SchemaMember(name, depth, self.describe_type(member), required, description))
            if depth + 1 < _MAX_DEPTH and len(rows) < _MAX_ROWS:
                self._add_members(member, depth + 1, rows, listed)

    def _resolve_component(self, schema: Any) -> tuple[str, Mapping[str, Any]]:
        """Return a resolved schema, and the name of the component that it refers to; empty if to none."""
        reference: Any = schema
        if isinstance(schema, Mapping) and "$ref" not in schema and len(schema.get("allOf", ())) == 1:
            reference = schema["allOf"][0]
        name = referenced_schema_name(reference) if isinstance(reference, Mapping) else ""
        return name, self.resolve(schema)

    def _find_object(self, schema: Any, depth: int = 0) -> tuple[str, Mapping[str, Any]]:
        """Return the schema of the object whose members a JSON Schema describes, and its component's name.

        That is the schema itself, the items of a list, or the only object among the alternatives or the items of a
        tuple. If there is none, it is the resolved schema.
        """
        name, schema = self._resolve_component(schema)
        parts = schema.get("prefixItems") or schema.get("anyOf") or schema.get("oneOf") or ()
        if not parts and "items" in schema:
            parts = [schema["items"]]
        if "properties" in schema or depth == _MAX_DEPTH:
            return name, schema
        objects = [
            found for found in (self._find_object(part, depth + 1) for part in parts) if "properties" in found[1]
        ]
        return objects[0] if len(objects) == 1 else (name, schema)

    def is_list(self, schema: Any) -> bool:
        """Return whether a value of a schema is a list, or null."""
        return self._resolver.types(schema) - {"null"} == {"array"}

    def choices(self, schema: Any) -> list[Any]:
        """Return the values that a schema allows, without null; empty if it allows others than those it names."""
        values = [allowed_values(alternative) for alternative in self._resolver.alternatives(schema)]
        if any(allowed is None for allowed in values):
            return []
        return [value for allowed in values for value in allowed or () if value is not None]

    def example(self, schema: Any) -> Any:
        """Return an example value of a JSON Schema.

        The value is the schema's ``example``, ``default`` or ``const``, the first of its ``examples`` or ``enum``, or
        an example of its first alternative; without these, a value is generated from the type. Objects are empty if
        they are more than four levels deep, or if the example is large already.
        """
        return self._example(schema, 0, itertools.count())

    def _example(self, schema: Any, depth: int, counter: Iterator[int]) -> Any:
        schema = self.resolve(schema)
        for name in ("example", "default", "const"):
            if name in schema:
                return schema[name]
        for name in ("examples", "enum"):
            if schema.get(name):
                return schema[name][0]
        if schema.get("anyOf") or schema.get("oneOf"):
            alternatives = self._resolver.alternatives(schema)
            return self._example(alternatives[0], depth + 1, counter) if alternatives and depth < _MAX_DEPTH else None
        return self._plain_example(schema, depth, counter)

    def _plain_example(self, schema: Mapping[str, Any], depth: int, counter: Iterator[int]) -> Any:
        json_type = next(iter(_json_types(schema)), None)
        is_expanded = next(counter) < _MAX_EXAMPLE_VALUES and depth < _MAX_DEPTH
        if json_type == "object":
            members = schema.get("properties", {}) if is_expanded else {}
            return {name: self._example(member, depth + 1, counter) for name, member in members.items()}
        if json_type == "array":
            items = schema.get("prefixItems") or ([schema["items"]] if "items" in schema else [])
            return [self._example(item, depth + 1, counter) for item in items] if is_expanded else []
        if json_type == "string":
            text = "text".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
            return _FORMAT_EXAMPLES.get(str(schema.get("format")), text)
        return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.5), "boolean": True}.get(
            str(json_type)
        )


def _json_types(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a resolved schema names, or the one that its keywords are about; empty for any type."""
    declared = schema.get("type", [])
    if declared:
        return [declared] if isinstance(declared, str) else list(declared)
    if "properties" in schema:
        return ["object"]
    return ["array"] if "items" in schema or "prefixItems" in schema else []


def _describe_bounds(schema: Mapping[str, Any]) -> list[str]:
    bounds = dict(schema)
    if bounds.get("minItems") == bounds.get("maxItems") == len(bounds.get("prefixItems", ())):
        bounds = {name: value for name, value in bounds.items() if name not in {"minItems", "maxItems"}}
    if bounds.get("type") == "string" and bounds.get("minLength") == 1:
        del bounds["minLength"]  # not worth a line: it only excludes the empty string
    if "minLength" in bounds and bounds["minLength"] == bounds.get("maxLength"):
        return [f"{bounds['minLength']} characters"]
    return [text.format(bounds[name]) for name, text in _BOUND_TEXTS.items() if name in bounds]


def _format_value(value: object) -> str:
    return "null" if value is None else str(value)
