"""docs/questions.md: forty frozen "where is ...?" questions, each answered by one file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import valetkey

SOURCE = Path(valetkey.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "questions.md"
ROWS = re.findall(r"^\| (\d+) \| \.\.\. (.+?) \| `(.+?)` \|$", PAGE.read_text(), re.MULTILINE)


def test_forty_questions_are_numbered_in_order() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 41))


def test_the_questions_are_frozen() -> None:
    """A question that no name answers is a reason to improve the name, not the question."""
    digest = hashlib.sha256("\n".join(question for _, question, _ in ROWS).encode()).hexdigest()

    assert digest == "63d8261023872cfdf13fbf4a5d3b4e9804a28cab0ac18a8ebd92d2024ac1b515"


def test_each_answer_is_a_file() -> None:
    missing = [(number, path) for number, _, path in ROWS if not (SOURCE / path).is_file()]

    assert missing == []
