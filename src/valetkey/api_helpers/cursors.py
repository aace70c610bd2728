"""Sign and verify pagination cursors: text for a position in a list, valid for one query and a limited time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from valetkey.web.problem_responses import Problem

from .context import find_runtime

_PURPOSE = "valetkey cursor"
_MAC_BYTES = 16  # HMAC-SHA-256 is truncated to 128 bits, which RFC 2104 §5 allows
_MAX_LENGTH = 6000  # characters; servers should support URLs of 8000 (RFC 9110 §4.1)
_MICROSECOND = timedelta(microseconds=1)

# Types that JSON does not have: the letter that marks the type, the encoder, the decoder.
_TYPE_CODECS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: ("t", datetime.isoformat, datetime.fromisoformat),
    date: ("d", date.isoformat, date.fromisoformat),
    time: ("h", time.isoformat, time.fromisoformat),
    timedelta: ("i", lambda value: str(value // _MICROSECOND), lambda text: int(text) * _MICROSECOND),
    Decimal: ("n", str, Decimal),
    UUID: ("u", str, UUID),
    bytes: ("b", bytes.hex, bytes.fromhex),
}
_DECODERS = {letter: decode for letter, _, decode in _TYPE_CODECS.values()}


def seal_cursor(place: Sequence[Any], query: str, *, now: float, lifetime: float, key: bytes | None = None) -> str:
    """Return a signed pagination cursor for a position in a list. Use it for lists that ``paginate`` cannot page.

    The cursor is signed, not encrypted: callers can read the values in it.

    :param place: the values that identify the position, such as the sort values of the last item. Each is a ``str``,
        ``int``, ``float``, ``bool``, ``datetime``, ``date``, ``time``, ``timedelta``, ``Decimal``, ``UUID`` or
        ``bytes``.
    :param query: text that identifies the query, such as its path and filters. ``open_cursor`` accepts the cursor only
        with the same text.
    :param now: the current time, in seconds since 1970.
    :param lifetime: seconds until the cursor expires.
    :param key: secret that signs the cursor. Default: the setting ``encryption_keys`` of the app's ``Valetkey``.
    :raises TypeError: if a value of ``place`` has another type.
    :raises ValueError: if the cursor would be longer than 6000 characters, which ``open_cursor`` refuses.
    :raises RuntimeError: if there is neither ``key`` nor a ``Valetkey`` in the app.
    """
    content = [int(now + lifetime), [_encode_value(value) for value in place]]
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    body = body.encode(errors="backslashreplace").decode()  # a lone surrogate has no UTF-8; this is its form in JSON
    mac = _compute_hmacs(key, f"{query}\0{body}")[0][:_MAC_BYTES]
    cursor = base64.urlsafe_b64encode(mac + body.encode()).decode().rstrip("=")
    if len(cursor) > _MAX_LENGTH:
        raise ValueError(
            f"the values are too long for a cursor, which has at most {_MAX_LENGTH} characters: order by shorter values"
        )
    return cursor


def open_cursor(cursor: str, query: str, *, now: float, key: bytes | None = None) -> list[Any]:
    """Verify a cursor that ``seal_cursor`` returned, and return the values that it was made from.

    :param query: the same text that was passed to ``seal_cursor``.
    :param now: the current time, in seconds since 1970.
    :param key: the secret that signed the cursor. Default: the setting ``encryption_keys`` of the app's ``Valetkey``.
    :raises Problem: 400 if the cursor was not made with this key, is for another query, or has expired.
    :raises RuntimeError: if there is neither ``key`` nor a ``Valetkey`` in the app.
    """
    try:
        if len(cursor) > _MAX_LENGTH:
            raise ValueError
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:].decode()
    except (ValueError, binascii.Error) as cause:
        raise _invalid_cursor() from cause
    expected_macs = _compute_hmacs(key, f"{query}\0{body}")
    matches = [hmac.compare_digest(mac, expected[:_MAC_BYTES]) for expected in expected_macs]
    if not any(matches):
        raise _invalid_cursor()
    expires_at, place = json.loads(body)
    if now > expires_at:
        raise Problem(400, "the cursor has expired; start again with the first page")
    return [_decode_value(value) for value in place]


def _invalid_cursor() -> Problem:
    return Problem(400, "the cursor is not valid for this list with these filters; start again with the first page")


def _compute_hmacs(key: bytes | None, text: str) -> list[bytes]:
    """Return the HMACs of a text with ``key``, or with each of the setting ``encryption_keys`` if ``key`` is None.

    Sign with the first HMAC and accept any of them, because ``encryption_keys`` may be rotated.

    :raises RuntimeError: if there is neither ``key`` nor a ``Valetkey`` in the app.
    """
    if key is not None:
        return [hmac.new(hashlib.sha256(_PURPOSE.encode() + key).digest(), text.encode(), "sha256").digest()]
    runtime = find_runtime()
    if runtime is None:
        raise RuntimeError("a cursor needs a key to sign it: pass key=, or add Valetkey(app)")
    return [bytes.fromhex(signature) for signature in runtime.cipher.compute_hmacs(_PURPOSE, text)]


def _encode_value(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    for value_type, (letter, encode, _) in _TYPE_CODECS.items():
        if isinstance(value, value_type):
            return [letter, encode(value)]
    raise TypeError(
        f"a cursor cannot hold a value of type {type(value).__name__}: use text, numbers, dates, UUIDs or bytes"
    )


def _decode_value(value: Any) -> Any:
    return _DECODERS[value[0]](value[1]) if isinstance(value, list) else value
