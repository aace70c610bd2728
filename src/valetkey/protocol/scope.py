"""Access token scope (RFC 6749 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import InvalidScope

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_MAX_LENGTH, _MAX_CACHED_LENGTH = 2000, 100


def parse_scope(text: str | None) -> frozenset[str]:
    """Return the scope names in a space-separated list; the result is empty for ``None`` and an empty text.

    :raises InvalidScope: if the text is not a space-separated list of scope names, or is longer than 2000 characters.
    """
    if not text:
        return frozenset()
    return _parse_cached(text) if len(text) <= _MAX_CACHED_LENGTH else _parse_uncached(text)


def _parse_uncached(text: str) -> frozenset[str]:
    names = text.split(" ")
    if len(text) > _MAX_LENGTH or not all(_SCOPE_TOKEN.fullmatch(name) for name in names):
        raise InvalidScope("scope is not a space-separated list of names")
    return frozenset(names)


_parse_cached = lru_cache(maxsize=256)(
    _parse_uncached
)  # an app uses few scopes; other values come from untrusted clients


def format_scope(names: Iterable[str]) -> str:
    """Return scope names as one text, sorted and separated by spaces."""
    return " ".join(sorted(names))
