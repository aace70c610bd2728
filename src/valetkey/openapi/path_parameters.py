"""A rule of Flask's as a path template of OpenAPI, its converters as schemas. No Flask here."""

from __future__ import annotations

import re
from typing import Any

_VARIABLE = re.compile(r"<(?:[a-zA-Z_]\w*(?:\(.*?\))?:)?([a-zA-Z_]\w*)>")  # a converter's argument may have parentheses
_LENGTHS = re.compile(r"\{(\d+)(,?)(\d*)\}$")


def path_template(path: str) -> str:
    """``/notes/<int:note_id>`` as ``/notes/{note_id}``."""
    return _VARIABLE.sub(r"{\1}", path)


def without_parameter_names(template: str) -> str:
    """The template without its variables' names: two that are alike here are one path (OpenAPI 3.1 §4.8.8)."""
    return re.sub(r"\{[^}]*\}", "{}", template)


def path_parameters(rule: Any) -> list[dict[str, Any]]:
    """The parameters in the path of a werkzeug rule."""
    return [
        {"name": name, "in": "path", "required": True, "schema": _converter_schema(rule._converters.get(name))}
        for name in _VARIABLE.findall(rule.rule)
    ]


def _converter_schema(converter: Any) -> dict[str, Any]:
    """By the kind of the converter, subclasses of a host's own included."""
    for kind in type(converter).__mro__:
        make = _CONVERTER_SCHEMAS.get(kind.__name__)
        if make is not None and kind.__module__.startswith("werkzeug."):
            schema: dict[str, Any] = make(converter)
            return schema
    return {"type": "string"}


def _string_schema(converter: Any) -> dict[str, Any]:
    found = _LENGTHS.search(converter.regex)
    if found is None:
        return {"type": "string", "minLength": 1}
    least, comma, most = found.groups()
    longest = most if comma else least
    return {"type": "string", "minLength": int(least), **({"maxLength": int(longest)} if longest else {})}


def _number_schema(json_type: str) -> Any:
    def schema(converter: Any) -> dict[str, Any]:
        lowest = converter.min if converter.min is not None or converter.signed else 0
        bounds = {"minimum": lowest, "maximum": converter.max}
        return {"type": json_type, **{name: value for name, value in bounds.items() if value is not None}}

    return schema


_CONVERTER_SCHEMAS: dict[str, Any] = {
    "UnicodeConverter": _string_schema,
    "PathConverter": lambda converter: {"type": "string", "minLength": 1},
    "AnyConverter": lambda converter: {"type": "string", "enum": sorted(converter.items)},
    "IntegerConverter": _number_schema("integer"),
    "FloatConverter": _number_schema("number"),
    "UUIDConverter": lambda converter: {"type": "string", "format": "uuid"},
}
