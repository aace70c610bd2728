"""Compute how long an HTTP response may be reused by a private cache (RFC 9111 §4.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_LIFETIME_S = 86_400
HEURISTIC_LIFETIME_S = 300  # if a 200 response has neither max-age nor Expires (§4.2.2)
_DIRECTIVE = re.compile(r'([\w-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')


def compute_max_age(status: int, headers: Mapping[str, str], now: float) -> int:
    """Return for how many seconds an HTTP response received now may be reused: a day at most, 0 for not at all.

    :param headers: the response headers by lower-case name.
    :param now: the current time in seconds since 1970; used for a response without ``Date``.
    """
    directives = _parse_directives(headers.get("cache-control", ""))
    if {"no-store", "no-cache"} & directives.keys() or headers.get("vary", "").strip() == "*":
        return 0
    lifetime: float = HEURISTIC_LIFETIME_S if status == 200 else 0
    if "max-age" in directives:
        lifetime = _parse_seconds(directives["max-age"])
    elif "expires" in headers:
        lifetime = _parse_date(headers["expires"], 0) - _parse_date(headers.get("date"), now)
    return int(min(max(lifetime - _parse_seconds(headers.get("age", "0")), 0), MAX_LIFETIME_S))


def _parse_directives(field: str) -> dict[str, str]:
    """Return the directives of a ``Cache-Control`` header by lower-case name; one without a value has an empty text."""
    directives: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(field):
        directives.setdefault(name.lower(), value.strip('"'))  # the first of duplicates counts (§4.2.1)
    return directives


def _parse_seconds(digits: str) -> int:
    """Return the number of seconds in a header, or 0 for an invalid text: the response is then stale (§4.2.1)."""
    return int(digits[:10]) if digits.isascii() and digits.isdecimal() else 0


def _parse_date(field: str | None, default: float) -> float:
    """Return the time of an HTTP date in seconds since 1970, or the default if there is no date or it is invalid."""
    try:
        return parsedate_to_datetime(field or "").timestamp()
    except (ValueError, OverflowError):  # an invalid date, like 0, counts as one in the past (§5.3)
        return default
