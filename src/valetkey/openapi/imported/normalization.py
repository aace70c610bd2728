"""Make the OpenAPI document of another Flask extension, or of a YAML file, one that all other code can read.

YAML has keys that are numbers, members without a value, dates, and documents that share parts.
"""

from __future__ import annotations

import datetime
import enum
import math
import re
from collections.abc import Mapping, Set
from typing import Any

from valetkey.openapi.references import follow_reference
from valetkey.openapi.schemas.subschemas import is_json
from valetkey.openapi.security import METHODS, path_items
from valetkey.settings import Settings

# Members whose value is any JSON value, and so may be or contain null.
_ANY_VALUE = frozenset({"default", "const", "enum", "example", "examples", "value"})
# Members whose own members have names that the author chose, such as "default".
_NAME_MAPS = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "schemas", "responses", "headers"}
    | {"parameters", "securitySchemes", "requestBodies", "links", "callbacks", "pathItems", "webhooks"}
    | {"content", "encoding", "mapping", "scopes", "variables"}
)
_DOCUMENT_MEMBERS = {"info": dict, "servers": list, "tags": list, "paths": dict, "components": dict, "security": list}
_OPERATION_MEMBERS = {"tags": list, "parameters": list, "requestBody": dict, "responses": dict, "security": list}


def normalize_document(spec: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a copy of an OpenAPI 3 document in which all members are what JSON and OpenAPI allow.

    Keys are strings, members with the value null are left out, and so are numbers that JSON does not have. ``info``,
    ``servers`` and ``paths`` exist. Path items that are references are replaced by what they refer to.

    :raises ValueError: if the document is not OpenAPI 3, or a part of it is not of the type that OpenAPI requires.
    """
    if not isinstance(spec, Mapping) or not str(spec.get("openapi", "")).startswith("3."):
        raise ValueError("the document is not OpenAPI 3: set the extension's OpenAPI version to 3.1.0")
    document: dict[str, Any] = _copy(spec)
    _check_types(document, _DOCUMENT_MEMBERS, "the document")
    document["openapi"] = re.sub(r"^(3\.\d+)$", r"\1.0", str(document["openapi"]))  # a number in YAML
    info = {"title": settings.name, "version": settings.api_version, **document.get("info", {})}
    document["info"] = {**info, "title": str(info["title"]), "version": str(info["version"])}
    document.setdefault("servers", [{"url": str(settings.issuer)}])
    extensions = {name: value for name, value in document.get("paths", {}).items() if name.startswith("x-")}
    items = {path: _path_item(path, item, document) for path, item in path_items(document).items()}
    document["paths"] = {**extensions, **items}
    return document


def _path_item(path: str, item: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    _check_types({path: item}, {path: dict}, "paths")
    if "$ref" in item:
        siblings = {name: value for name, value in item.items() if name != "$ref"}
        item = {**_copy(follow_reference(item, document)), **siblings}
    _check_types(item, {"parameters": list, **dict.fromkeys(METHODS, dict)}, path)
    for method in METHODS:
        if method in item:
            _check_types(item[method], _OPERATION_MEMBERS, f"{method.upper()} {path}")
            item[method].setdefault("responses", {})
    return dict(item)


def _check_types(part: Mapping[str, Any], types: Mapping[str, type], place: str) -> None:
    for name, expected in types.items():
        if name in part and not isinstance(part[name], expected):
            kind = "an object" if expected is dict else "a list"
            raise ValueError(f"{name} of {place} in the OpenAPI document is not {kind}")


def _copy(part: Any, *, has_any_value: bool = False, is_name_map: bool = False) -> Any:
    """Return a copy of a part of a document with only the types of JSON, which shares nothing with the original.

    :param has_any_value: whether the part is a JSON value such as that of ``default``, in which null is a value.
    :param is_name_map: whether the part is an object whose members have names that the author chose.
    """
    if isinstance(part, enum.Enum):
        part = part.value
    if isinstance(part, Mapping):
        copied = {}
        for key, value in part.items():
            name = _json_key(key)
            if name == "type" and not is_name_map and not has_any_value:
                value = _type_names(value)
            takes_any = has_any_value or (not is_name_map and (name in _ANY_VALUE or name.startswith("x-")))
            if (value is None and not takes_any) or (takes_any and not has_any_value and not is_json(value)):
                continue
            if isinstance(value, float) and not math.isfinite(value):
                continue
            copied[name] = _copy(value, has_any_value=takes_any, is_name_map=not is_name_map and name in _NAME_MAPS)
        return copied
    if isinstance(part, list | tuple | Set):
        return [_copy(item, has_any_value=has_any_value) for item in part if item is not None or has_any_value]
    if isinstance(part, datetime.date | datetime.time):
        return part.isoformat()
    return part if part is None or isinstance(part, bool | int | float | str) else str(part)


def _type_names(value: Any) -> Any:
    """Return the value of ``type`` with the type null as text: YAML reads ``[string, null]`` as a list with None."""
    return [item or "null" for item in value] if isinstance(value, list) else value or "null"


def _json_key(key: Any) -> str:
    """Return a key as the name of a member of a JSON object: 200 as ``200``, True as ``true``, None as ``null``."""
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else str(key)
