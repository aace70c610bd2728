"""Formats of the standard claims about a user (OpenID Connect Core §5.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date

from .claims import ADDRESS_MEMBERS, STANDARD_CLAIMS
from .email_address import is_email_address
from .uri import page_uri_problem

_MAX_TEXT_LENGTH, _MAX_UPDATED_AT = 2000, 10**11
_URI_CHARACTERS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")
_BIRTHDATE = re.compile(r"(\d{4})(?:-(\d\d)-(\d\d))?", re.ASCII)
_ZONEINFO = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,6}")
_PHONE_NUMBER = re.compile(r"\+?[0-9(][0-9 ().\-/]{1,40}(?:;ext=[0-9]{1,15})?")
_E164_NUMBER = re.compile(r"\+[1-9][0-9]{1,14}(?:;ext=[0-9]{1,15})?")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, surrogates, line separators
_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def claim_problems(claims: Mapping[str, object]) -> dict[str, str]:
    """Return why claims about a user cannot be sent to clients: a sentence by the name of each claim that cannot.

    Claims that are not standard claims have no problems.
    """
    problems = {name: problem for name, value in claims.items() if (problem := claim_problem(name, value))}
    if claims.get("phone_number_verified") is True and not _E164_NUMBER.fullmatch(
        str(claims.get("phone_number", "+10"))
    ):
        problems["phone_number_verified"] = _problem("phone_number_verified", "false, or the number like +4930123456")
    return problems


def claim_problem(name: str, value: object) -> str | None:
    """Return why a value is not valid for a claim, as a sentence, or ``None`` if it is or the claim is not standard."""
    expected = STANDARD_CLAIMS.get(name)
    if expected is None:
        return None
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        return f"the claim {name} has the wrong JSON type (OpenID Connect Core §5.1)"
    if isinstance(value, Mapping):
        return _address_problem(value)
    is_valid, description = _FORMATS.get(name, (_is_text, "a text without control characters"))
    return None if expected is bool or is_valid(value) else _problem(name, description)


def _problem(name: str, description: str) -> str:
    return f"the claim {name} must be {description} (OpenID Connect Core §5.1)"


def _address_problem(address: Mapping[object, object]) -> str | None:
    wrong = [name for name in ADDRESS_MEMBERS if not _is_text(address.get(name, ""), allow_lines=True)]
    wrong += [str(name) for name, value in address.items() if name not in ADDRESS_MEMBERS and not _is_text(value)]
    return f"{' and '.join(wrong)} of the claim address must be texts (OpenID Connect Core §5.1.1)" if wrong else None


def _is_text(value: object, *, allow_lines: bool = False) -> bool:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_LENGTH:
        return False
    characters = set(value) - ({"\n", "\r"} if allow_lines else set())
    return _DIRECTION_OVERRIDES.isdisjoint(characters) and _HIDDEN_CATEGORIES.isdisjoint(
        map(unicodedata.category, characters)
    )


def _is_url(value: object) -> bool:
    """Return whether a value is the http or https URL of a page or an image; it may have a fragment.

    Characters that no URI has (RFC 3986 §2) are refused, such as the quotes that end an HTML attribute.
    """
    if not isinstance(value, str) or not _URI_CHARACTERS.fullmatch(value):
        return False
    return page_uri_problem(value.replace("#", "%23", 1)) is None


def _is_birthdate(value: object) -> bool:
    """Return whether a value is a date or a year (ISO 8601-1); the year 0000 means that it is not given."""
    match = _BIRTHDATE.fullmatch(str(value))
    if match is None:
        return False
    year, month, day = match.groups()
    try:
        date(2000 if year == "0000" else int(year), int(month or 1), int(day or 1))
    except ValueError:
        return False
    return True


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _MAX_UPDATED_AT  # false for NaN


def _pattern(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_URL_FORMAT = (_is_url, "an https or http URL")
_FORMATS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "profile": _URL_FORMAT,
    "picture": _URL_FORMAT,
    "website": _URL_FORMAT,
    "email": (lambda value: is_email_address(str(value)), "one e-mail address, like ada@example.org"),
    "birthdate": (_is_birthdate, "a date like 1815-12-10, or a year"),
    "zoneinfo": (_pattern(_ZONEINFO), "the name of a time zone, like Europe/London"),
    "locale": (_pattern(_LOCALE), "a language tag, like en-GB"),
    "phone_number": (_pattern(_PHONE_NUMBER), "a telephone number, like +4930123456"),
    "updated_at": (_is_time, "a number of seconds since 1970"),
}
