"""The body of a request to an endpoint for machines: a form (RFC 6749 §3.2) or JSON (RFC 7591 §3.1)."""

from __future__ import annotations

from typing import Any

from .errors import BodyTooLarge, InvalidRequest
from .json_object import read_json
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
