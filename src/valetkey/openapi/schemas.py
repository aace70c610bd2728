"""JSON Schemas of Python types, by pydantic: imported only where a document is made."""

from __future__ import annotations

import functools
import operator
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

SCHEMA_REF_PREFIX = "#/components/schemas/"
SchemaMode = Literal["validation", "serialization"]


class SchemaBuilder:
    """Collects types, then makes all their schemas at once, so that each has one name."""

    def __init__(self) -> None:
        self._adapters: dict[str, tuple[str, SchemaMode, Any]] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        self.components: dict[str, Any] = {}

    def add(self, key: str, python_type: Any, mode: SchemaMode, label: str) -> None:
        """Remember a type under a key.

        :param where: whose it is, for the error's sentence.
        :raises ValueError: where pydantic cannot describe it.
        """
        from pydantic import PydanticUserError, TypeAdapter

        try:
            adapter: Any = TypeAdapter(_pydantic_compatible(python_type))
            adapter.json_schema(mode=mode)
        except PydanticUserError as cause:
            told = str(cause.message).partition("\n")[0]
            raise ValueError(f"{label}: {python_type!r} has no JSON Schema; use a pydantic model ({told})") from cause
        self._adapters[key] = (key, mode, adapter)

    def build(self) -> None:
        """Make every schema; ``components`` then holds what they refer to."""
        if not self._adapters:
            return
        from pydantic import TypeAdapter

        inputs: list[Any] = list(self._adapters.values())
        made, shared = TypeAdapter.json_schemas(inputs, ref_template=SCHEMA_REF_PREFIX + "{model}")
        _add_missing_items([made, shared])
        self._schemas = {str(key): schema for (key, _), schema in made.items()}
        self.components = dict(shared.get("$defs", {}))

    def get(self, key: str) -> dict[str, Any]:
        return self._schemas[key]

    def properties(self, key: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Each property of an object's schema: its name, its schema, whether it must be there."""
        schema = resolve_reference(self.get(key), self.components)
        for name, one in schema.get("properties", {}).items():
            yield name, one, name in schema.get("required", ())


def resolve_reference(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference leads to; any other schema as it is."""
    name = str(schema.get("$ref", ""))
    return components.get(name.removeprefix(SCHEMA_REF_PREFIX), {}) if name.startswith(SCHEMA_REF_PREFIX) else schema


def used_components(document: object, components: Mapping[str, Any]) -> dict[str, Any]:
    """The components that a document needs, directly or through another."""
    used: dict[str, Any] = {}
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            name = str(part.get("$ref", "")).removeprefix(SCHEMA_REF_PREFIX)
            if name in components and name not in used:
                used[name] = components[name]
                waiting.append(components[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return dict(sorted(used.items()))


def _add_missing_items(part: Any) -> None:
    """Give every array its ``items``: of a tuple JSON Schema needs none, and readers of OpenAPI do."""
    if isinstance(part, dict):
        if part.get("type") == "array":
            part.setdefault("items", {})
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            _add_missing_items(one)


def _pydantic_compatible(python_type: Any, converted_dicts: dict[Any, Any] | None = None) -> Any:
    """The type as pydantic takes it: before Python 3.12 it wants the TypedDict of typing_extensions.

    :param made: what was made of which TypedDict, so that one which holds itself has an end.
    """
    if sys.version_info >= (3, 12):
        return python_type
    converted_dicts = {} if converted_dicts is None else converted_dicts
    if typing.is_typeddict(python_type):
        return (
            converted_dicts[python_type]
            if python_type in converted_dicts
            else _pydantic_compatible_dict(python_type, converted_dicts)
        )
    arguments = typing.get_args(python_type)
    if not arguments or typing.get_origin(python_type) in {typing.Literal, typing.Annotated}:
        return python_type
    origin = typing.get_origin(python_type)
    converted = tuple(_pydantic_compatible(one, converted_dicts) for one in arguments)
    if converted == arguments:
        return python_type
    if origin is list or origin is dict:
        return origin[converted]
    return functools.reduce(operator.or_, converted)


def _pydantic_compatible_dict(typed_dict: Any, converted_dicts: dict[Any, Any]) -> Any:
    import typing_extensions

    make: Any = typing_extensions.TypedDict
    portable = converted_dicts[typed_dict] = make(typed_dict.__name__, {})
    portable.__doc__ = typed_dict.__doc__
    for name, hint in typing.get_type_hints(typed_dict, include_extras=True).items():
        told = typing.get_origin(hint)  # __required_keys__ does not see through annotations that are strings
        needed = told is typing.Required or (told is not typing.NotRequired and name in typed_dict.__required_keys__)
        value = typing.get_args(hint)[0] if told in {typing.Required, typing.NotRequired} else hint
        member = (typing.Required if needed else typing.NotRequired)[_pydantic_compatible(value, converted_dicts)]
        portable.__annotations__[name] = member
    return portable
