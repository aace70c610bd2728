"""Resolve the JSON Schemas of an OpenAPI document for a comparison: references, alternatives, types. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.openapi.references import follow_reference

Schema = Mapping[str, Any]

_MAX_DEPTH = 8  # of nested references, allOf and alternatives, which may be recursive
_ANY_VALUE: Schema = {}
_NO_VALUE: Schema = {"enum": []}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class SchemaResolver:
    """Resolves ``$ref``, ``allOf`` and alternatives in the JSON Schemas of one OpenAPI document.

    Resolving the same schema object twice returns the same object.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        # Resolved schemas by the id of the schema. The schema itself is stored too, so that its id is not reused.
        self._resolved: dict[int, tuple[Any, Schema]] = {}

    def resolve(self, schema: Any, depth: int = 0) -> Schema:
        """Return a schema without ``$ref`` and ``allOf``: the schemas that these refer to are merged into it.

        ``true`` becomes a schema that allows any value, ``false`` one that allows none. References and ``allOf`` that
        are nested more than eight levels deep are left as they are.
        """
        if isinstance(schema, bool):
            return _ANY_VALUE if schema else _NO_VALUE
        cached = self._resolved.get(id(schema))
        if cached is None:
            cached = self._resolved[id(schema)] = (schema, self._follow_references(schema, depth))
        return cached[1]

    def _follow_references(self, schema: Schema, depth: int) -> Schema:
        is_reference = "$ref" in schema
        parts = [follow_reference(schema, self._document)] if is_reference else list(schema.get("allOf", ()))
        if not parts or depth >= _MAX_DEPTH:
            return schema
        if is_reference and len(schema) == 1:
            return self.resolve(parts[0], depth + 1)
        siblings = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
        return _merge([*(self.resolve(part, depth + 1) for part in parts), siblings])

    def alternatives(self, schema: Any, depth: int = 0) -> list[Schema]:
        """Return the alternatives of a schema's ``anyOf`` or ``oneOf``, resolved, including nested alternatives.

        A schema without these is its own only alternative. An alternative that allows only null is left out, because
        null is compared as a type (see ``types``).
        """
        resolved = self.resolve(schema)
        choices = resolved.get("anyOf") or resolved.get("oneOf")
        if not choices or depth >= _MAX_DEPTH:
            return [] if resolved.get("type") == "null" else [resolved]
        return [alternative for choice in choices for alternative in self.alternatives(choice, depth + 1)]

    def types(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """Return the JSON types that a schema allows, such as ``string`` or ``null``; empty if it allows any type."""
        resolved = self.resolve(schema)
        choices = resolved.get("anyOf") or resolved.get("oneOf")
        if choices and depth < _MAX_DEPTH:
            types_of_choices = [self.types(choice, depth + 1) for choice in choices]
            return frozenset().union(*types_of_choices) if all(types_of_choices) else frozenset()
        declared = resolved.get("type", ())
        types = {declared} if isinstance(declared, str) else set(declared)
        if not types:
            types = {_JSON_TYPES.get(type(value), "null") for value in allowed_values(resolved) or ()}
        return frozenset(types | ({"null"} if resolved.get("nullable") else set()))


def allowed_values(schema: Schema) -> list[Any] | None:
    """Return the values that a schema allows with ``const`` or ``enum``, or None if it has neither."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _merge(parts: list[Schema]) -> Schema:
    """Merge schemas into one: ``properties`` and ``required`` are united; of other keywords, the last value is used."""
    merged: dict[str, Any] = {}
    for part in parts:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged |= part
        merged |= ({"properties": properties} if properties else {}) | ({"required": required} if required else {})
    return merged
