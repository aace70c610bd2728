"""Replace each ``typing.TypedDict`` in a type, of which pydantic makes no JSON Schema before Python 3.12."""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any


class PydanticCompatibility:
    """Makes types that pydantic accepts of those of an app, for all types of one OpenAPI document.

    A TypedDict or dataclass is replaced by the same class each time, so that it is one component of the document.
    """

    def __init__(self) -> None:
        self._replaced: dict[Any, Any] = {}

    def convert(self, python_type: Any) -> Any:
        """Return the type with each ``typing.TypedDict`` in it replaced by an equal ``typing_extensions.TypedDict``.

        pydantic requires that before Python 3.12. From Python 3.12 on, the type is returned unchanged. Pydantic models
        cannot contain a ``typing.TypedDict`` before.
        """
        return python_type if sys.version_info >= (3, 12) else self._replace(python_type)

    def _replace(self, python_type: Any) -> Any:
        if isinstance(python_type, type) and python_type in self._replaced:
            return self._replaced[python_type]
        if not any(map(typing.is_typeddict, _iter_types(python_type, set()))):
            return python_type
        if typing.is_typeddict(python_type):
            return self._replace_typed_dict(python_type)
        origin, arguments = typing.get_origin(python_type), typing.get_args(python_type)
        if not arguments:
            return self._replace_dataclass(python_type)
        if origin is typing.Annotated:
            return typing.Annotated[(self._replace(arguments[0]), *arguments[1:])]
        converted = tuple(self._replace(argument) for argument in arguments)
        if origin in {typing.Union, types.UnionType}:
            return functools.reduce(operator.or_, converted)
        return self._replace(origin)[converted]

    def _replace_typed_dict(self, typed_dict: Any) -> Any:
        import typing_extensions

        converted = self._replaced[typed_dict] = _make_class(typed_dict, typing_extensions.TypedDict)
        for name, hint in typing.get_type_hints(typed_dict, include_extras=True).items():
            marker = typing.get_origin(hint)  # __required_keys__ ignores Required and NotRequired in string annotations
            is_required = marker is typing.Required or (
                marker is not typing.NotRequired and name in typed_dict.__required_keys__
            )
            value = typing.get_args(hint)[0] if marker in {typing.Required, typing.NotRequired} else hint
            member = (typing.Required if is_required else typing.NotRequired)[self._replace(value)]
            converted.__annotations__[name] = member
        return converted

    def _replace_dataclass(self, dataclass: Any) -> Any:
        converted = self._replaced[dataclass] = _make_class(dataclass)
        converted.__annotations__ = {}
        hints = typing.get_type_hints(dataclass, include_extras=True)
        for field in dataclasses.fields(dataclass):
            converted.__annotations__[field.name] = self._replace(hints[field.name])
            default: Any = {"default": field.default, "default_factory": field.default_factory}
            copied = dataclasses.field(init=field.init, kw_only=True, metadata=field.metadata, **default)
            setattr(converted, field.name, copied)
        return dataclasses.dataclass(converted)


def _iter_types(python_type: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield a type, the types of its members if it is a dataclass, its type arguments, and so on."""
    is_dataclass = isinstance(python_type, type) and dataclasses.is_dataclass(python_type)
    if is_dataclass and python_type not in seen and not hasattr(python_type, "__pydantic_validator__"):
        seen.add(python_type)
        for hint in typing.get_type_hints(python_type, include_extras=True).values():
            yield from _iter_types(hint, seen)
    yield python_type
    if typing.get_origin(python_type) is not typing.Literal:
        for part in (typing.get_origin(python_type), *typing.get_args(python_type)):
            if part is not None:
                yield from _iter_types(part, seen)


def _make_class(original: Any, *bases: Any) -> Any:
    """Return an empty class with the names, the docstring and the type parameters of another."""
    generic: Any = typing.Generic
    parameters = getattr(original, "__parameters__", ())
    copied: Any = types.new_class(original.__name__, (*bases, *([generic[parameters]] if parameters else [])))
    for name in ("__doc__", "__module__", "__qualname__", "__pydantic_config__"):
        if hasattr(original, name):
            setattr(copied, name, getattr(original, name))
    return copied
