"""Names that are shown to users: visible, of limited length, with a sentence that says what is wrong."""

from __future__ import annotations

import pytest

from valetkey.protocol.display_name import display_name_problem


@pytest.mark.parametrize("name", ["Shop", "Ada's tool", "Café", "Cafe\u0301", "店", "משחק", "👍", "a" * 100, " Shop "])
def test_a_visible_name_is_accepted(name: str) -> None:
    assert display_name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("\u00a0", "is empty"),
        ("a" * 101, "has 101 characters"),
        ("\u3164", r"contains U\+3164 \(HANGUL FILLER\)"),
        ("Goo\uffa0gle", r"U\+FFA0"),
        ("\u2800", r"U\+2800 \(BRAILLE PATTERN BLANK\)"),
        ("a\u200bb", r"U\+200B \(ZERO WIDTH SPACE\)"),
        ("a\u202eb", r"U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"),
        ("a\nb", r"U\+000A \(a control character\)"),
        ("a\ud800", r"U\+D800"),
    ],
)
def test_an_invisible_name_is_refused_and_the_character_is_named(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        raise ValueError(display_name_problem(name))
