"""Access token scope (RFC 6749 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import InvalidScope

_OTHER_CHARACTER = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
# Of a list of scopes; a JWT with such a list still fits into the 8 KB that web servers accept for a header.
MAX_LENGTH = 4000
_MAX_CACHED_LENGTH = 100


def parse_scope(text: str | None) -> frozenset[str]:
    """Return the scope names in a space-separated list; the result is empty for ``None`` and a blank text.

    Additional spaces have no effect.

    :raises InvalidScope: if the text has a character that scope names do not have, or over 4,000 characters.
    """
    if not text:
        return frozenset()
    return _parse_cached(text) if len(text) <= _MAX_CACHED_LENGTH else _parse_uncached(text)


def _parse_uncached(text: str) -> frozenset[str]:
    if len(text) > MAX_LENGTH:
        raise InvalidScope(f"scope has {len(text)} characters, more than {MAX_LENGTH}: request fewer scopes")
    if character := _OTHER_CHARACTER.search(text):
        code_point = f"U+{ord(character[0]):04X}"
        raise InvalidScope(f"scope contains {code_point}, which scope names must not contain: separate names by spaces")
    return frozenset(text.split(" ")) - {""}


_parse_cached = lru_cache(maxsize=256)(
    _parse_uncached
)  # an app uses few scopes; other values come from untrusted clients


def format_scope(names: Iterable[str]) -> str:
    """Return scope names as one text, sorted and separated by spaces."""
    return " ".join(sorted(names))
