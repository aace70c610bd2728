"""User codes (RFC 8628 §6.1): short, hard to misread, hard to guess."""

from __future__ import annotations

import secrets

# Consonants without Y: no words, no digits to take for letters. 20^8 codes are 34.5 bits; with ten guesses for
# each account, one in two thousand million is right (RFC 8628 §5.1).
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH = 8


def generate_user_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def format_user_code(user_code: str) -> str:
    """As a device shows it, with a dash in the middle."""
    return f"{user_code[:4]}-{user_code[4:]}"


def parse_user_code(text: str) -> str | None:
    """The code that a person means, whatever case, dashes and spaces they type; None where it is none."""
    letters = "".join(one for one in text.upper() if one.isalnum())
    return letters if len(letters) == _LENGTH and set(letters) <= set(_ALPHABET) else None
