"""The formats of standard claims (OpenID Connect Core §5.1): what the documents show is accepted, the rest is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from valetkey.protocol.claim_formats import claim_problem, claim_problems

URLS = [
    *("javascript:alert(1)", "data:text/html,x", "ftp://example.org/", "//example.org/", "/ada", "example.org", ""),
    *(
        "https://",
        "https:example.org",
        "https://ada:secret@example.org/",
        "https://example.org/\n",
        " https://a.example",
    ),
    *(
        "https://example.org/a b",
        'https://example.org/"onclick="alert(1)',
        "https://example.org/<script>",
        "https://exa\\mple.org/",
        "https://example.org:99999/",
        "x" * 2001,
        5,
        None,
        ["https://a"],
    ),
]
TEXTS = ["a\nb", "a\x00", "\ud800", "\u202eada", "a\u2028b", "x" * 2001, 5, True, {"a": "b"}]
INVALID: dict[str, list[Any]] = {
    **dict.fromkeys(("profile", "picture", "website"), URLS),
    **dict.fromkeys(("name", "given_name", "family_name", "middle_name", "nickname", "gender"), TEXTS),
    "preferred_username": TEXTS,
    "email": ["ada", "ada@", "a@b.example,c@d.example", "Ada <ada@example.org>", "=?utf-8?q?a?=@example.org", "", 5],
    "email_verified": ["true", 1, None],
    "phone_number_verified": ["false", 0],
    "birthdate": [
        "10.12.1815",
        "1815-13-01",
        "1815-02-30",
        "1815-12",
        "15-12-10",
        "0000-00-00",
        "１８１５",
        "1815-12-10T00",
        1815,
    ],
    "zoneinfo": ["+01:00", "Europe/London/", "../../etc/passwd", "Europe London", "", 1],
    "locale": ["e", "en-", "en--GB", "english language", "", 5],
    "phone_number": ["tel:+4930123456", "call me", "+", "+49<script>", "1" * 60, "", 4930123456],
    "address": ["Berlin", ["Berlin"], {"country": 5}, {"other": date(2026, 1, 1)}, {"locality": "a\x00"}, {5: 5}],
    "updated_at": ["2026-01-01", -1, float("nan"), float("inf"), 10**12, True, None],
}
VALID: dict[str, list[Any]] = {
    "website": ["https://example.org", "http://example.org:8080/~ada?x=1#top", "https://xn--mller-kva.example/"],
    "picture": ["https://example.org/ada.png"],
    "profile": ["https://example.org/ada"],
    "name": ["Ada Lovelace", "李小龍", "क्‍ष", "👩‍💻", "O'Brien-Smith, Jr."],
    "email": ["ada@example.org"],
    "email_verified": [True, False],
    "birthdate": ["1815-12-10", "0000-02-29", "1815", "2000-02-29"],
    "zoneinfo": ["Europe/Paris", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5"],
    "locale": ["en", "en-US", "en_US", "zh-Hant-TW"],
    "phone_number": ["+1 (425) 555-1212", "+56 (2) 687 2400", "+1 (604) 555-1234;ext=5678", "030/123456", "112"],
    "address": [{"formatted": "1 Road\r\nLondon", "country": "UK"}, {}, {"house": "a text"}],
    "updated_at": [0, 1311280970, 1.5],
    "shoe_size": [object()],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_a_value_with_another_type_or_format_is_a_problem(name: str, value: Any) -> None:
    problem = claim_problem(name, value)

    assert problem is not None
    assert f"claim {name}" in problem


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALID.items() for value in values])
def test_a_value_like_those_in_the_specification_is_accepted(name: str, value: Any) -> None:
    assert claim_problem(name, value) is None


@pytest.mark.parametrize(
    ("phone_number", "is_verified", "has_problem"),
    [
        ("030/123456", True, True),
        ("030/123456", False, False),
        ("+4930123456", True, False),
        ("+4930123456;ext=12", True, False),
    ],
)
def test_a_verified_phone_number_has_the_format_e164(phone_number: str, is_verified: bool, has_problem: bool) -> None:
    problems = claim_problems({"phone_number": phone_number, "phone_number_verified": is_verified})

    assert problems.keys() == ({"phone_number_verified"} if has_problem else set())
