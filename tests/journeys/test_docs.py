"""What is written for readers is what the code does."""

from __future__ import annotations

import re
import runpy

from tests.journeys.checkout import PROJECT_DIR

DOCS, DECISIONS = PROJECT_DIR / "docs", PROJECT_DIR / "decisions"
PARTS = ["Question", "Choice", "Given up", "What would change our mind"]


def test_the_page_of_settings_is_what_the_settings_say() -> None:
    written = runpy.run_path(str(DOCS / "write_settings.py"))["text"]()
    assert (DOCS / "settings.md").read_text() == written, "run: python docs/write_settings.py"


def test_the_structure_names_every_room_and_nothing_that_is_not_there() -> None:
    text = (DOCS / "structure.md").read_text()
    package = PROJECT_DIR / "src" / "valetkey"
    rooms = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []
    named = re.findall(r"`((?:src|tests|docs|examples|decisions|requirements|benchmarks)/[\w./-]*)`", text)
    assert [path for path in named if not (PROJECT_DIR / path).exists()] == []
    files = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text)
    assert [path for path in files if not (package / path).exists() and not (PROJECT_DIR / path).exists()] == []


def test_every_decision_is_a_page_with_the_same_four_parts() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS, page.name
        assert re.match(rf"# {int(page.name[:4])}\. \S", text), page.name
        assert len(text.splitlines()) <= 60, page.name
