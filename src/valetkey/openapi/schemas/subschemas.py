"""Walk through a JSON Schema, which contains schemas and values: ``default`` and ``enum`` contain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_LISTS_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
    | {"not", "if", "then", "else", "contentSchema"}
)


def iter_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a JSON Schema and each schema inside of it, without those that it refers to.

    Boolean schemas are left out.
    """
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, value in schema.items():
        inner: list[Any] = []
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            inner = list(value.values())
        elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
            inner = value
        elif keyword in _SCHEMAS:
            inner = [value]
        for part in inner:
            yield from iter_schemas(part)


def is_json(value: Any) -> bool:
    """Return whether all numbers of a JSON value are finite: JSON has no NaN and no infinity (RFC 8259 §6)."""
    if isinstance(value, dict):
        return all(map(is_json, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    return not isinstance(value, float) or math.isfinite(value)


def replace_references(schema: Any, references: Mapping[str, str]) -> None:
    """Replace references in a JSON Schema, in place: ``$ref``, and the mappings of discriminators.

    :param references: the new reference for each one to replace.
    """
    for part in iter_schemas(schema):
        if "$ref" in part:
            part["$ref"] = references.get(part["$ref"], part["$ref"])
        mapping = part.get("discriminator", {}).get("mapping", {})
        mapping.update({value: references.get(reference, reference) for value, reference in mapping.items()})
