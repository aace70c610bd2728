"""Cursors: a place in a list as a text that only we can make, good for one query and some time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from valetkey.web.problem_responses import Problem

from .context import find_runtime

_PURPOSE = "valetkey cursor"
_MAC_BYTES = 16  # bytes of HMAC-SHA-256 that are kept: 128 bits, as RFC 2104 §5 allows
_MAX_LENGTH = 2000
Sign = Callable[[str], list[bytes]]

# A type that JSON does not have: its letter, how it is written, how it is read.
_TYPE_CODECS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: ("t", datetime.isoformat, datetime.fromisoformat),
    date: ("d", date.isoformat, date.fromisoformat),
    Decimal: ("n", str, Decimal),
    UUID: ("u", str, UUID),
    bytes: ("b", bytes.hex, bytes.fromhex),
}
_DECODERS = {letter: read for letter, _, read in _TYPE_CODECS.values()}


def seal_cursor(place: Sequence[Any], query: str, *, now: float, lifetime: float, key: bytes | None = None) -> str:
    """A cursor.

    :param place: the values that the place is known by; the caller can read them in the cursor.
    :param query: what the cursor continues; it opens with this query only.
    :param key: signs; where left out, ``encryption_keys`` of the app's Valetkey do.
    """
    body = json.dumps([int(now + lifetime), [_encode_value(value) for value in place]], separators=(",", ":"))
    mac = _compute_hmacs(key, f"{query}\0{body}")[0][:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac + body.encode()).decode().rstrip("=")


def open_cursor(cursor: str, query: str, *, now: float, key: bytes | None = None) -> list[Any]:
    """The place that a cursor names.

    :raises Problem: 400 where it was made by somebody else, for another query, or too long ago.
    """
    try:
        if len(cursor) > _MAX_LENGTH:
            raise ValueError
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:].decode()
    except (ValueError, binascii.Error) as cause:
        raise _invalid_cursor() from cause
    good = [hmac.compare_digest(mac, one[:_MAC_BYTES]) for one in _compute_hmacs(key, f"{query}\0{body}")]
    if not any(good):
        raise _invalid_cursor()
    ends, place = json.loads(body)
    if now > ends:
        raise Problem(400, "the cursor is too old; begin with the first page again")
    return [_decode_value(value) for value in place]


def _invalid_cursor() -> Problem:
    return Problem(400, "the cursor is not one of this list with these filters; begin with the first page again")


def _compute_hmacs(key: bytes | None, text: str) -> list[bytes]:
    """HMACs of the text: the first is ours to give, all are good to accept."""
    if key is not None:
        return [hmac.new(hashlib.sha256(_PURPOSE.encode() + key).digest(), text.encode(), "sha256").digest()]
    runtime = find_runtime()
    if runtime is None:
        raise RuntimeError("a cursor is signed: give key= or add Valetkey(app)")
    return [bytes.fromhex(signature) for signature in runtime.cipher.compute_hmacs(_PURPOSE, text)]


def _encode_value(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    for known, (letter, write, _) in _TYPE_CODECS.items():
        if isinstance(value, known):
            return [letter, write(value)]
    raise TypeError(f"a list cannot be continued after a value of type {type(value).__name__}")


def _decode_value(value: Any) -> Any:
    return _DECODERS[value[0]](value[1]) if isinstance(value, list) else value
