"""Translate Flask URL rules to OpenAPI path templates and path parameters. Does not import Flask."""

from __future__ import annotations

import re
from typing import Any

_VARIABLE = re.compile(r"<(?:[a-zA-Z_]\w*(?:\(.*?\))?:)?([a-zA-Z_]\w*)>")  # a converter's argument may have parentheses
_LENGTHS = re.compile(r"\{(\d+)(,?)(\d*)\}$")


def path_template(path: str) -> str:
    """Return the OpenAPI path template of a Flask URL rule: ``/notes/<int:note_id>`` becomes ``/notes/{note_id}``."""
    return _VARIABLE.sub(r"{\1}", path)


def without_parameter_names(template: str) -> str:
    """Return an OpenAPI path template without its parameter names: ``/notes/{note_id}`` becomes ``/notes/{}``.

    Templates that are equal without parameter names are the same path in OpenAPI (3.1 §4.8.8).
    """
    return re.sub(r"\{[^}]*\}", "{}", template)


def parameter_names(template: str) -> list[str]:
    """Return the names of the parameters in an OpenAPI path template, in their order."""
    return re.findall(r"\{([^}]*)\}", template)


def path_parameters(rule: Any) -> list[dict[str, Any]]:
    """Return the OpenAPI path parameter objects for the variables of a Werkzeug URL rule; empty if it has none."""
    return [
        {"name": name, "in": "path", "required": True, "schema": _converter_schema(rule._converters.get(name))}
        for name in _VARIABLE.findall(rule.rule)
    ]


def _converter_schema(converter: Any) -> dict[str, Any]:
    """Return the JSON Schema of the values that a Werkzeug URL converter, such as ``int``, accepts.

    A custom converter has the schema of the Werkzeug converter that it inherits from; without one, any string.
    """
    for converter_class in type(converter).__mro__:
        build_schema = _CONVERTER_SCHEMAS.get(converter_class.__name__)
        if build_schema is not None and converter_class.__module__.startswith("werkzeug."):
            schema: dict[str, Any] = build_schema(converter)
            return schema
    return {"type": "string"}


def _string_schema(converter: Any) -> dict[str, Any]:
    match = _LENGTHS.search(converter.regex)
    if match is None:
        return {"type": "string", "minLength": 1}
    lower, comma, upper = match.groups()
    max_length = upper if comma else lower
    return {"type": "string", "minLength": int(lower), **({"maxLength": int(max_length)} if max_length else {})}


def _number_schema(json_type: str) -> Any:
    def schema(converter: Any) -> dict[str, Any]:
        minimum = converter.min if converter.min is not None or converter.signed else 0
        bounds = {"minimum": minimum, "maximum": converter.max}
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
