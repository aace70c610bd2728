"""The code blocks of the README, which the tests run as they are."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def find_blocks(section: str, language: str) -> list[str]:
    """Return the code blocks of a language in the section with this heading."""
    text = README.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


FIVE_MINUTES_COMMANDS = find_blocks("The first five minutes", "sh")
FIVE_MINUTES_PROGRAMS = find_blocks("The first five minutes", "python")
