"""JSON Schemas of Python types, by pydantic: imported only where a document is made."""

from __future__ import annotations

import functools
import operator
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

REFERENCE = "#/components/schemas/"
Mode = Literal["validation", "serialization"]


class Schemas:
    """Collects types, then makes all their schemas at once, so that each has one name."""

    def __init__(self) -> None:
        self._adapters: dict[str, tuple[str, Mode, Any]] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self.components: dict[str, Any] = {}

    def add(self, key: str, kind: Any, mode: Mode, where: str) -> None:
        """Remember a type under a key.

        :param where: whose it is, for the error's sentence.
        :raises ValueError: where pydantic cannot describe it.
        """
        from pydantic import PydanticUserError, TypeAdapter

        try:
            adapter: Any = TypeAdapter(_portable(kind))
            adapter.json_schema(mode=mode)
        except PydanticUserError as cause:
            told = str(cause.message).partition("\n")[0]
            raise ValueError(f"{where}: {kind!r} has no JSON Schema; use a pydantic model ({told})") from cause
        self._adapters[key] = (key, mode, adapter)

    def make(self) -> None:
        """Make every schema; ``components`` then holds what they refer to."""
        if not self._adapters:
            return
        from pydantic import TypeAdapter

        inputs: list[Any] = list(self._adapters.values())
        made, shared = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE + "{model}")
        _say_items([made, shared])
        self._made = {str(key): schema for (key, _), schema in made.items()}
        self.components = dict(shared.get("$defs", {}))

    def of(self, key: str) -> dict[str, Any]:
        return self._made[key]

    def members(self, key: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Each property of an object's schema: its name, its schema, whether it must be there."""
        schema = resolved(self.of(key), self.components)
        for name, one in schema.get("properties", {}).items():
            yield name, one, name in schema.get("required", ())


def resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference leads to; any other schema as it is."""
    name = str(schema.get("$ref", ""))
    return components.get(name.removeprefix(REFERENCE), {}) if name.startswith(REFERENCE) else schema


def used_components(document: object, components: Mapping[str, Any]) -> dict[str, Any]:
    """The components that a document needs, directly or through another."""
    used: dict[str, Any] = {}
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            name = str(part.get("$ref", "")).removeprefix(REFERENCE)
            if name in components and name not in used:
                used[name] = components[name]
                waiting.append(components[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return dict(sorted(used.items()))


def _say_items(part: Any) -> None:
    """Give every array its ``items``: of a tuple JSON Schema needs none, and readers of OpenAPI do."""
    if isinstance(part, dict):
        if part.get("type") == "array":
            part.setdefault("items", {})
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            _say_items(one)


def _portable(kind: Any, made: dict[Any, Any] | None = None) -> Any:
    """The type as pydantic takes it: before Python 3.12 it wants the TypedDict of typing_extensions.

    :param made: what was made of which TypedDict, so that one which holds itself has an end.
    """
    if sys.version_info >= (3, 12):
        return kind
    made = {} if made is None else made
    if typing.is_typeddict(kind):
        return made[kind] if kind in made else _portable_dict(kind, made)
    arguments = typing.get_args(kind)
    if not arguments or typing.get_origin(kind) in {typing.Literal, typing.Annotated}:
        return kind
    origin = typing.get_origin(kind)
    converted = tuple(_portable(one, made) for one in arguments)
    if converted == arguments:
        return kind
    if origin is list or origin is dict:
        return origin[converted]
    return functools.reduce(operator.or_, converted)


def _portable_dict(kind: Any, made: dict[Any, Any]) -> Any:
    import typing_extensions

    make: Any = typing_extensions.TypedDict
    portable = made[kind] = make(kind.__name__, {})
    portable.__doc__ = kind.__doc__
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        told = typing.get_origin(hint)  # __required_keys__ does not see through annotations that are strings
        needed = told is typing.Required or (told is not typing.NotRequired and name in kind.__required_keys__)
        value = typing.get_args(hint)[0] if told in {typing.Required, typing.NotRequired} else hint
        member = (typing.Required if needed else typing.NotRequired)[_portable(value, made)]
        portable.__annotations__[name] = member
    return portable
