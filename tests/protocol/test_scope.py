"""Scopes (RFC 6749 §3.3): names separated by spaces, with a sentence that says what is wrong with a list."""

from __future__ import annotations

import pytest

from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import format_scope, parse_scope


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, set()),
        ("", set()),
        ("   ", set()),
        ("profile", {"profile"}),
        ("profile email profile", {"profile", "email"}),
        ("  profile   email  ", {"profile", "email"}),
        (" ".join(f"scope-{number}:read" for number in range(250)), {f"scope-{number}:read" for number in range(250)}),
    ],
)
def test_names_are_read_and_additional_spaces_have_no_effect(text: str | None, names: set[str]) -> None:
    assert parse_scope(text) == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("profile\temail", r"U\+0009"),
        ("profile\nemail", r"U\+000A"),
        ('"profile"', r"U\+0022"),
        ("a\\b", r"U\+005C"),
        ("profil\u00e9", r"U\+00E9"),
        ("x" * 4001, "4001 characters, more than 4000"),
    ],
)
def test_the_error_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(InvalidScope, match=problem) as refused:
        parse_scope(text)
    assert not set(refused.value.description) & set('"\\'), "RFC 6749 §5.2 excludes these from error_description"


def test_scopes_are_written_sorted() -> None:
    assert format_scope({"b", "a"}) == "a b"
