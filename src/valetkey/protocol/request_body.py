"""Request bodies of endpoints that programs call: a form (RFC 6749 §3.2) or JSON (RFC 7591 §3.1)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .errors import BodyTooLarge, InvalidRequest
from .parameters import Parameters, parse_parameters

_MAX_BYTES = 65_536


def parse_form_body(body: bytes, content_type: str) -> Parameters:
    """Return the parameters in a form-encoded request body; there are none if the body is empty.

    :raises BodyTooLarge: if the body is larger than 64 KiB.
    :raises InvalidRequest: if the body is not form-encoded, or a parameter is sent twice.
    """
    if not body:
        return Parameters({})
    _check_size_and_type(body, content_type, "application/x-www-form-urlencoded")
    try:
        return parse_parameters(body.decode())
    except UnicodeDecodeError as cause:
        raise InvalidRequest("the body is not UTF-8") from cause


def parse_json_object_body(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the JSON object in a request body, checking its size and content type.

    :raises BodyTooLarge: if the body is larger than 64 KiB.
    :raises InvalidRequest: if the body is not a JSON object.
    """
    value = parse_json_body(body, content_type)
    if not isinstance(value, dict):
        raise InvalidRequest("the body is not a JSON object")
    return value


def parse_json_body(body: bytes, content_type: str) -> Any:
    """Return the JSON value in a request body (an object, an array or another value), checking size and content type.

    :raises BodyTooLarge: if the body is larger than 64 KiB.
    :raises InvalidRequest: if the body is not JSON.
    """
    _check_size_and_type(body, content_type, "application/json")
    try:
        return parse_json(body)
    except ValueError as cause:
        raise InvalidRequest("the body is not JSON, or names a member twice") from cause


def _check_size_and_type(body: bytes, content_type: str, expected_type: str) -> None:
    if len(body) > _MAX_BYTES:
        raise BodyTooLarge("the request body is larger than 64 KiB")
    if content_type.partition(";")[0].strip().lower() != expected_type:
        raise InvalidRequest(f"the body must be {expected_type}")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, without a check of the size.

    :raises ValueError: if the body is not a JSON object, or ``parse_json`` cannot read it.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def parse_json(body: bytes) -> Any:
    """Return the JSON value in ``body``, parsed more strictly than by ``json.loads``.

    :raises ValueError: if the body is not UTF-8, is not JSON, has an object with two members of the same name
        (RFC 8259 §4), is nested too deeply, or has an escape of a lone surrogate, which no database can store (§8.2).
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_reject_repeated_members, parse_constant=_reject_constant)
        json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates; UnicodeEncodeError is a ValueError
    except RecursionError as cause:
        raise ValueError("the JSON is nested too deeply") from cause
    except UnicodeDecodeError as cause:
        raise ValueError("the JSON is not UTF-8") from cause
    return value


def _reject_repeated_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
