"""How long an answer may be used again (RFC 9111 §4.2), for a cache of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_LIFETIME_S = 86_400
HEURISTIC_LIFETIME_S = 300  # seconds, where a 200 says nothing (§4.2.2)
_DIRECTIVE = re.compile(r'([\w-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')


def compute_max_age(status: int, headers: Mapping[str, str], now: float) -> int:
    """Seconds for which an answer received now is fresh; 0 where it must be asked for again.

    :param headers: by lower-case name.
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
    found: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(field):
        found.setdefault(name.lower(), value.strip('"'))  # the first of two counts (§4.2.1)
    return found


def _parse_seconds(digits: str) -> int:
    """What is not a number of seconds is stale at once (§4.2.1)."""
    return int(digits[:10]) if digits.isascii() and digits.isdecimal() else 0


def _parse_date(field: str | None, default: float) -> float:
    try:
        return parsedate_to_datetime(field or "").timestamp()
    except (ValueError, OverflowError):  # a date that is none, as 0, is in the past (§5.3)
        return default
