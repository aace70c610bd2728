"""Escapes for text of callers in logs and terminals: line breaks, terminal commands, bidirectional controls."""

from __future__ import annotations


def escape_unprintable(text: str) -> str:
    r"""Return the text with each character that is not printable replaced by its escape, such as ``\n`` or ``\u202e``.

    These are control characters, line and paragraph separators, characters that change the direction of text, and lone
    surrogates. With them a caller could forge lines of a log, or change what a terminal shows.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
