"""The body of a request to an endpoint for machines: a form (RFC 6749 §3.2) or JSON (RFC 7591 §3.1)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .errors import BodyTooLarge, InvalidRequest
from .parameters import Parameters, parse_parameters

_MAX_BYTES = 65_536


def parse_form_body(body: bytes, content_type: str) -> Parameters:
    """The parameters of a POST.

    :raises InvalidRequest: where it is no form, or too large.
    """
    if not body:
        return Parameters({})
    _check_size_and_type(body, content_type, "application/x-www-form-urlencoded")
    try:
        return parse_parameters(body.decode())
    except UnicodeDecodeError as cause:
        raise InvalidRequest("the body is not UTF-8") from cause


def parse_json_object_body(body: bytes, content_type: str) -> dict[str, Any]:
    """The object of a POST or PUT.

    :raises InvalidRequest: where it is none, or too large.
    """
    read = parse_json_body(body, content_type)
    if not isinstance(read, dict):
        raise InvalidRequest("the body is not a JSON object")
    return read


def parse_json_body(body: bytes, content_type: str) -> Any:
    """The object, list or other value of a POST.

    :raises InvalidRequest: where it is no JSON, or too large.
    """
    _check_size_and_type(body, content_type, "application/json")
    try:
        return parse_json(body)
    except ValueError as cause:
        raise InvalidRequest("the body is not JSON that names each member once") from cause


def _check_size_and_type(body: bytes, content_type: str, expected_type: str) -> None:
    if len(body) > _MAX_BYTES:
        raise BodyTooLarge("the request body is larger than 64 KiB")
    if content_type.partition(";")[0].strip().lower() != expected_type:
        raise InvalidRequest(f"the body must be {expected_type}")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The object in a body.

    :raises ValueError: where it is not an object, or cannot be read.
    """
    read = parse_json(body)
    if not isinstance(read, dict):
        raise ValueError("not a JSON object")
    return read


def parse_json(body: bytes) -> Any:
    """The value in a body.

    :raises ValueError: where it is not UTF-8 or not JSON, or names a member twice (RFC 8259 §4), and where an
        escape stands for half a character, which no store keeps (§8.2).
    """
    try:
        read = json.loads(body.decode(), object_pairs_hook=_reject_repeated_members, parse_constant=_reject_constant)
        json.dumps(read, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    except RecursionError as cause:
        raise ValueError("the JSON is nested too deeply") from cause
    except UnicodeDecodeError as cause:
        raise ValueError("the JSON is not UTF-8") from cause
    return read


def _reject_repeated_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a member is named twice")
    return read


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
