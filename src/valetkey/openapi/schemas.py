"""Make JSON Schemas of Python types with pydantic, which is imported only when a type is added."""

from __future__ import annotations

import functools
import operator
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from .names import name_components
from .references import SCHEMA_REF_PREFIX, follow_reference, referenced_schema_name, replace_references

SchemaMode = Literal["validation", "serialization"]


class SchemaBuilder:
    """Makes the JSON Schemas of all Python types of an OpenAPI document together, so that schema names are unique.

    Call ``add`` for each type, then ``build`` once; then ``get``, ``properties`` and ``components`` can be used.
    """

    def __init__(self) -> None:
        self._adapters: dict[str, tuple[str, SchemaMode, Any]] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        self.components: dict[str, Any] = {}

    def add(self, key: str, python_type: Any, mode: SchemaMode, label: str) -> None:
        """Add a Python type, whose JSON Schema ``get(key)`` returns after ``build``.

        :param key: any text that identifies this use of the type.
        :param mode: ``validation`` for requests, ``serialization`` for responses (pydantic's two schemas of a type).
        :param label: what the type is used for, such as ``the body of POST /notes``, for the error message.
        :raises ValueError: if pydantic cannot make a JSON Schema of the type.
        """
        from pydantic import PydanticUserError, TypeAdapter

        try:
            adapter: Any = TypeAdapter(_pydantic_compatible(python_type))
            adapter.json_schema(mode=mode)
        except PydanticUserError as cause:
            reason = str(cause.message).partition("\n")[0]
            raise ValueError(f"{label}: {python_type!r} has no JSON Schema; use a pydantic model ({reason})") from cause
        self._adapters[key] = (key, mode, adapter)

    def build(self) -> None:
        """Make the JSON Schemas of all added types, and set ``components`` to the schemas they refer to, by name."""
        if not self._adapters:
            return
        from pydantic import TypeAdapter
        from pydantic.json_schema import GenerateJsonSchema

        class SchemaGenerator(GenerateJsonSchema):
            def field_title_should_be_set(self, schema: Any) -> bool:
                return False  # client generators would name a class after it, for members of several objects

        inputs: list[Any] = list(self._adapters.values())
        schemas, definitions = TypeAdapter.json_schemas(
            inputs, ref_template=SCHEMA_REF_PREFIX + "{model}", schema_generator=SchemaGenerator
        )
        _add_missing_items([schemas, definitions])
        self._schemas = {str(key): schema for (key, _), schema in schemas.items()}
        self._add_components(definitions.get("$defs", {}))

    def _add_components(self, definitions: dict[str, Any]) -> None:
        """Set ``components`` to the schemas that pydantic made, with names that client generators can use."""
        names = name_components(definitions)
        references = {SCHEMA_REF_PREFIX + key: SCHEMA_REF_PREFIX + name for key, name in names.items()}
        replace_references([self._schemas, definitions], references)
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


def _add_missing_items(part: Any) -> None:
    """Add an empty ``items``, in place, to every array schema without ``items``, such as the schema of a tuple.

    JSON Schema does not require ``items`` beside ``prefixItems``; OpenAPI linters such as Spectral do.
    """
    if isinstance(part, dict):
        if part.get("type") == "array":
            part.setdefault("items", {})
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            _add_missing_items(item)


def _pydantic_compatible(python_type: Any, converted_dicts: dict[Any, Any] | None = None) -> Any:
    """Return the type with each ``typing.TypedDict`` in it replaced by an equal ``typing_extensions.TypedDict``.

    pydantic requires that before Python 3.12. From Python 3.12 on, the type is returned unchanged.

    :param converted_dicts: the replacements made so far, by original TypedDict, so that a recursive TypedDict is
        converted once.
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
    converted = tuple(_pydantic_compatible(argument, converted_dicts) for argument in arguments)
    if converted == arguments:
        return python_type
    if origin is list or origin is dict:
        return origin[converted]
    return functools.reduce(operator.or_, converted)


def _pydantic_compatible_dict(typed_dict: Any, converted_dicts: dict[Any, Any]) -> Any:
    import typing_extensions

    create: Any = typing_extensions.TypedDict
    converted = converted_dicts[typed_dict] = create(typed_dict.__name__, {})
    converted.__doc__ = typed_dict.__doc__
    for name, hint in typing.get_type_hints(typed_dict, include_extras=True).items():
        marker = typing.get_origin(hint)  # __required_keys__ ignores Required and NotRequired in string annotations
        is_required = marker is typing.Required or (
            marker is not typing.NotRequired and name in typed_dict.__required_keys__
        )
        value = typing.get_args(hint)[0] if marker in {typing.Required, typing.NotRequired} else hint
        member = (typing.Required if is_required else typing.NotRequired)[_pydantic_compatible(value, converted_dicts)]
        converted.__annotations__[name] = member
    return converted
