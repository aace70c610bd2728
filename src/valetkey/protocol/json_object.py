"""JSON objects from outside (RFC 8259), read so that they can be understood in one way only."""

from __future__ import annotations

import json
from typing import Any, NoReturn


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
