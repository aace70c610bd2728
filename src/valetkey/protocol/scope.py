"""Access token scope (RFC 6749 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import InvalidScope

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_MAX_LENGTH, _MAX_CACHED_LENGTH = 2000, 100


def parse_scope(text: str | None) -> frozenset[str]:
    """The names in a space-separated list.

    :raises InvalidScope: where the text is not of that form.
    """
    if not text:
        return frozenset()
    return _parse_cached(text) if len(text) <= _MAX_CACHED_LENGTH else _parse_uncached(text)


def _parse_uncached(text: str) -> frozenset[str]:
    names = text.split(" ")
    if len(text) > _MAX_LENGTH or not all(_SCOPE_TOKEN.fullmatch(name) for name in names):
        raise InvalidScope("scope is not a space-separated list of names")
    return frozenset(names)


_parse_cached = lru_cache(maxsize=256)(_parse_uncached)  # the same few come again and again; strangers send others


def format_scope(names: Iterable[str]) -> str:
    return " ".join(sorted(names))
