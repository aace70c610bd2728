"""Checks that each setting has a value of its type."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import Settings

_EXPECTED = {
    "str": "text",
    "str | None": "text or None",
    "bool": "True or False",
    "int": "a whole number",
    "tuple[str, ...]": "a list of texts",
}  # by declared type; other checks know what the other types accept
_EXAMPLES = {"max_body": "1 MiB", "user_limit": "600/minute"}  # of texts that people write as numbers


def default_of(setting: Field[Any]) -> Any:
    """Return the value that a setting has if nothing sets it."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def type_problems(settings: Settings) -> dict[str, str]:
    """Return a sentence for each setting whose value has another type than the setting, by the setting's name."""
    problems = {}
    for setting in fields(settings):
        type_name, value = str(setting.type), getattr(settings, setting.name)
        if type_name in _EXPECTED and not _has_type(value, type_name):
            example = _EXAMPLES.get(setting.name) or (setting.default if setting.name.endswith("_limit") else None)
            example = f", such as {example!r}" if example else ""
            actual = "None" if value is None else f"a value of type {type(value).__name__}"
            problems[setting.name] = f"{setting.name} must be {_EXPECTED[type_name]}{example}, not {actual}"
    return problems


def _has_type(value: object, type_name: str) -> bool:
    match type_name:
        case "str":
            return isinstance(value, str)
        case "str | None":
            return value is None or isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
