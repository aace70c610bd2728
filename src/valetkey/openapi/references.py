"""Follow ``$ref`` from one part of an OpenAPI document to another (JSON Pointer, RFC 6901)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

SCHEMA_REF_PREFIX = "#/components/schemas/"


def follow_reference(part: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that a part of an OpenAPI document refers to with ``$ref``, or the part if it has no ``$ref``.

    A reference to a reference is followed too. The result is empty if the object does not exist, is in another
    document, or refers to itself.
    """
    seen: set[str] = set()
    while "$ref" in part:
        reference = str(part["$ref"])
        if reference in seen or not reference.startswith("#/"):
            return {}
        seen.add(reference)
        part = _find(document, reference)
    return part


def referenced_schema_name(part: Mapping[str, Any]) -> str:
    """Return the name of the component schema that a JSON Schema refers to with ``$ref``; empty if to none."""
    reference = str(part.get("$ref", ""))
    return _unescape(reference.removeprefix(SCHEMA_REF_PREFIX)) if reference.startswith(SCHEMA_REF_PREFIX) else ""


def _find(document: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    target: Any = document
    for name in reference.removeprefix("#/").split("/"):
        target = target.get(_unescape(name)) if isinstance(target, Mapping) else None
    return target if isinstance(target, Mapping) else {}


def _unescape(name: str) -> str:
    """Return the name that one part of a JSON Pointer in a URI fragment stands for (RFC 6901 §4 and §6)."""
    return unquote(name).replace("~1", "/").replace("~0", "~")
