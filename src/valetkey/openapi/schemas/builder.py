"""Make JSON Schemas of Python types with pydantic, which is imported only when a type is added."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from valetkey.openapi.names import name_components
from valetkey.openapi.references import SCHEMA_REF_PREFIX, follow_reference, referenced_schema_name
from valetkey.protocol.json_encoding import encode_json

from .subschemas import is_json, iter_schemas, replace_references
from .typed_dicts import PydanticCompatibility

SchemaMode = Literal["validation", "serialization"]
# The keywords of a JSON Schema in which a type can have numbers, besides its default.
_VALUES = frozenset(
    {"const", "enum", "example", "examples"}
    | {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"}
)


class SchemaBuilder:
    """Makes the JSON Schemas of all Python types of an OpenAPI document together, so that schema names are unique.

    Call ``add`` for each type, then ``build`` once; then ``get``, ``properties`` and ``components`` can be used.
    """

    def __init__(self) -> None:
        self._adapters: dict[str, tuple[str, SchemaMode, Any]] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        self._compatibility = PydanticCompatibility()
        self.components: dict[str, Any] = {}

    def add(self, key: str, python_type: Any, mode: SchemaMode) -> None:
        """Add a Python type, whose JSON Schema ``get(key)`` returns after ``build``.

        :param key: any text that identifies this use of the type.
        :param mode: ``validation`` for requests, ``serialization`` for responses (pydantic's two schemas of a type).
        :raises ValueError: if pydantic cannot make a JSON Schema of the type.
        """
        from pydantic import TypeAdapter

        try:
            adapter: Any = TypeAdapter(self._compatibility.convert(python_type))
            encode_json(adapter.json_schema(mode=mode, schema_generator=_schema_generator()))
        except Exception as cause:  # pydantic's errors have no common class, and a type may run code of its own
            reason = str(getattr(cause, "message", cause)).partition("\n")[0]
            raise ValueError(f"{python_type!r} has no JSON Schema; use a pydantic model ({reason})") from cause
        self._adapters[key] = (key, mode, adapter)

    def build(self) -> None:
        """Make the JSON Schemas of all added types, and set ``components`` to the schemas they refer to, by name."""
        if not self._adapters:
            return
        from pydantic import TypeAdapter

        inputs: list[Any] = list(self._adapters.values())
        schemas, definitions = TypeAdapter.json_schemas(
            inputs, ref_template=SCHEMA_REF_PREFIX + "{model}", schema_generator=_schema_generator()
        )
        for schema in (*schemas.values(), *definitions.get("$defs", {}).values()):
            _complete(schema)
        self._schemas = {str(key): schema for (key, _), schema in schemas.items()}
        self._add_components(definitions.get("$defs", {}))

    def _add_components(self, definitions: dict[str, Any]) -> None:
        """Set ``components`` to the schemas that pydantic made, with names that client generators can use."""
        names = name_components(definitions)
        references = {SCHEMA_REF_PREFIX + key: SCHEMA_REF_PREFIX + name for key, name in names.items()}
        for schema in (*self._schemas.values(), *definitions.values()):
            replace_references(schema, references)
        # Some generators name a class after the title, others after the component.
        self.components = {names[key]: {**schema, "title": names[key]} for key, schema in definitions.items()}

    def get(self, key: str) -> dict[str, Any]:
        """Return the JSON Schema of the type that was added with this key. Call ``build`` first."""
        return self._schemas[key]

    def properties(self, key: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Yield each property of the object type added with this key: name, JSON Schema, whether it is required."""
        schema = follow_reference(self.get(key), {"components": {"schemas": self.components}})
        for name, property_schema in schema.get("properties", {}).items():
            yield name, property_schema, name in schema.get("required", ())


def used_components(document: object, components: Mapping[str, Any]) -> dict[str, Any]:
    """Return the component schemas that a document refers to, directly or through another component, sorted by name."""
    used: dict[str, Any] = {}
    pending = [document]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            name = referenced_schema_name(part)
            if name in components and name not in used:
                used[name] = components[name]
                pending.append(components[name])
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return dict(sorted(used.items()))


@functools.cache
def _schema_generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema
    from pydantic_core import PydanticSerializationError

    class SchemaGenerator(GenerateJsonSchema):
        ignored_warning_kinds: Any = frozenset({"skipped-choice", "non-serializable-default"})  # it is left out

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False  # client generators would name a class after it, for members of several objects

        def encode_default(self, dft: Any) -> Any:
            if not is_json(dft):  # in a list, pydantic would write null
                raise PydanticSerializationError("JSON has no such number")
            return super().encode_default(dft)

    return SchemaGenerator


def _complete(schema: Any) -> None:
    """Make a JSON Schema of pydantic one that OpenAPI tools accept, in place.

    An array without ``items``, such as a tuple, gets an empty one: JSON Schema does not require it beside
    ``prefixItems``; OpenAPI linters such as Spectral do. Bounds and examples that JSON does not have are removed.
    """
    for part in iter_schemas(schema):
        if part.get("type") == "array":
            part.setdefault("items", {})
        for keyword in [keyword for keyword in part if keyword in _VALUES and not is_json(part[keyword])]:
            del part[keyword]
