"""The body of a request to an endpoint for machines: a form (RFC 6749 §3.2) or JSON (RFC 7591 §3.1)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .errors import BodyTooLarge, InvalidRequest
from .parameters import Parameters, read_form

_LARGEST = 65_536


def read_form_body(body: bytes, content_type: str) -> Parameters:
    """The parameters of a POST.

    :raises InvalidRequest: where it is no form, or too large.
    """
    if not body:
        return Parameters({})
    _check(body, content_type, "application/x-www-form-urlencoded")
    try:
        return read_form(body.decode())
    except UnicodeDecodeError as cause:
        raise InvalidRequest("the body is not UTF-8") from cause


def read_json_body(body: bytes, content_type: str) -> dict[str, Any]:
    """The object of a POST or PUT.

    :raises InvalidRequest: where it is none, or too large.
    """
    read = read_json_value(body, content_type)
    if not isinstance(read, dict):
        raise InvalidRequest("the body is not a JSON object")
    return read


def read_json_value(body: bytes, content_type: str) -> Any:
    """The object, list or other value of a POST.

    :raises InvalidRequest: where it is no JSON, or too large.
    """
    _check(body, content_type, "application/json")
    try:
        return read_json(body)
    except ValueError as cause:
        raise InvalidRequest("the body is not JSON that names each member once") from cause


def _check(body: bytes, content_type: str, wanted: str) -> None:
    if len(body) > _LARGEST:
        raise BodyTooLarge("the request body is larger than 64 KiB")
    if content_type.partition(";")[0].strip().lower() != wanted:
        raise InvalidRequest(f"the body must be {wanted}")


def read_json_object(body: bytes) -> dict[str, Any]:
    """The object in a body.

    :raises ValueError: where it is not an object, or cannot be read.
    """
    read = read_json(body)
    if not isinstance(read, dict):
        raise ValueError("not a JSON object")
    return read


def read_json(body: bytes) -> Any:
    """The value in a body.

    :raises ValueError: where it is not UTF-8 or not JSON, or names a member twice (RFC 8259 §4), and where an
        escape stands for half a character, which no store keeps (§8.2).
    """
    try:
        read = json.loads(body.decode(), object_pairs_hook=_each_once, parse_constant=_refuse)
        json.dumps(read, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    except RecursionError as cause:
        raise ValueError("the JSON is nested too deeply") from cause
    except UnicodeDecodeError as cause:
        raise ValueError("the JSON is not UTF-8") from cause
    return read


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a member is named twice")
    return read


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
