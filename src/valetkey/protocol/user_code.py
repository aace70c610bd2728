"""User codes of the device grant (RFC 8628 §6.1): short, hard to misread and hard to guess."""

from __future__ import annotations

import secrets
import unicodedata

# Consonants without Y form no words, and there are no digits that look like letters. 20^8 codes are 34.5 bits; with ten
# guesses per account, the chance of guessing a code is one in two thousand million (RFC 8628 §5.1).
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH = 8


def generate_user_code() -> str:
    """Return a new random user code of 8 letters, without the dash that users see in the middle."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def format_user_code(user_code: str) -> str:
    """Return a user code as a device shows it, with a dash in the middle, such as ``WDJB-MJHT``."""
    return f"{user_code[:4]}-{user_code[4:]}"


def parse_user_code(text: str) -> str | None:
    """Return the user code in a text that a user typed, or ``None`` if the text cannot be a user code.

    Case, dashes, spaces and other punctuation in the text are ignored. Full-width letters are accepted.
    """
    letters = "".join(character for character in _normalize(text) if character.isalnum())
    return letters if len(letters) == _LENGTH and set(letters) <= set(_ALPHABET) else None


def find_foreign_letter(text: str) -> str | None:
    """Return the first letter or digit of a text that is not Latin, such as one of a Cyrillic keyboard, or ``None``."""
    return next((letter for letter in text if letter.isalnum() and not _normalize(letter).isascii()), None)


def _normalize(text: str) -> str:
    """Return the text in capitals, with ASCII letters for full-width ones (Unicode form NFKC)."""
    return unicodedata.normalize("NFKC", text).upper()
