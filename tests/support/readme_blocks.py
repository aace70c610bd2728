"""The code blocks of README and docs/, which the tests run as they are."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[2]
README = (PROJECT_DIR / "README.md").read_text()


def find_blocks(section: str, language: str, page: str = README) -> list[str]:
    """Return the code blocks of a language in the section with this heading, or above the first one if it is ""."""
    text = f"\n## \n{page}".split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def read_page(name: str) -> str:
    """Return the text of a page in docs/."""
    return (PROJECT_DIR / "docs" / name).read_text()


FIVE_MINUTES_COMMANDS = find_blocks("Get started in five minutes", "sh")
FIVE_MINUTES_PROGRAMS = find_blocks("Get started in five minutes", "python")
