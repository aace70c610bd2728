"""The JSON encoding of responses and of tokens' claims."""

from __future__ import annotations

import json

import orjson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode_json(value: object) -> bytes:
    """Return a value as JSON (RFC 8259) in UTF-8, without spaces; NaN and infinity become ``null``.

    orjson takes a tenth of the time of ``json``: 4 % of rows P2 and P4 of the benchmarks.

    :raises TypeError: if the value contains something that JSON has not, such as a ``datetime``.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, a lone surrogate, a key that is no string
        return json.dumps(value, separators=(",", ":")).encode()
