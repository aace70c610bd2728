"""The schemas of one OpenAPI document, read for a comparison: references followed, alternatives told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_MAX_DEPTH = 8  # references and allOf that lead to each other
_ANY_VALUE: Schema = {}
_NO_VALUE: Schema = {"enum": []}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class SchemaResolver:
    """The schemas of a document. Each is read once: the same schema gives the same object."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._components: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
        self._resolved: dict[int, tuple[Any, Schema]] = {}  # with what was read, so that no other takes its id

    def resolve(self, schema: Any, depth: int = 0) -> Schema:
        """What a reference leads to, with the parts of an ``allOf`` in one."""
        if isinstance(schema, bool):
            return _ANY_VALUE if schema else _NO_VALUE
        known = self._resolved.get(id(schema))
        if known is None:
            known = self._resolved[id(schema)] = (schema, self._follow_references(schema, depth))
        return known[1]

    def _follow_references(self, schema: Schema, depth: int) -> Schema:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        parts = [self._components.get(name, _ANY_VALUE)] if name else list(schema.get("allOf", ()))
        if not parts or depth >= _MAX_DEPTH:
            return schema
        if name and len(schema) == 1:
            return self.resolve(parts[0], depth + 1)
        own = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
        return _merge([*(self.resolve(one, depth + 1) for one in parts), own])

    def alternatives(self, schema: Any, depth: int = 0) -> list[Schema]:
        """The schemas of which a value has any one; null is a kind, and none of them."""
        found = self.resolve(schema)
        choices = found.get("anyOf") or found.get("oneOf")
        if not choices or depth >= _MAX_DEPTH:
            return [] if found.get("type") == "null" else [found]
        return [one for choice in choices for one in self.alternatives(choice, depth + 1)]

    def types(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """The types of value that may be; empty: any."""
        found = self.resolve(schema)
        choices = found.get("anyOf") or found.get("oneOf")
        if choices and depth < _MAX_DEPTH:
            each = [self.types(one, depth + 1) for one in choices]
            return frozenset().union(*each) if all(each) else frozenset()
        told = found.get("type", ())
        kinds = {told} if isinstance(told, str) else set(told)
        if not kinds:
            kinds = {_JSON_TYPES.get(type(one), "null") for one in allowed_values(found) or ()}
        return frozenset(kinds | ({"null"} if found.get("nullable") else set()))


def allowed_values(schema: Schema) -> list[Any] | None:
    """The only values that may be; None: all of the type."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _merge(parts: list[Schema]) -> Schema:
    """One schema that asks what all of these ask, as far as callers see it; what stands later counts where both say."""
    whole: dict[str, Any] = {}
    for part in parts:
        members = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole |= part
        whole |= ({"properties": members} if members else {}) | ({"required": required} if required else {})
    return whole
