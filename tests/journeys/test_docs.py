"""The documentation matches the code: links, docs/settings.md, docs/structure.md and the decisions."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.journeys.checkout import PROJECT_DIR

DOCS, DECISIONS = PROJECT_DIR / "docs", PROJECT_DIR / "decisions"
PAGES = [*PROJECT_DIR.glob("*.md"), *DOCS.glob("*.md"), *(PROJECT_DIR / "examples").glob("*/README.md")]
DECISION_HEADINGS = ["Question", "Choice", "Given up", "What would change our mind"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_DIR)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as repository sites generate them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_settings_matches_the_settings() -> None:
    generated = runpy.run_path(str(DOCS / "write_settings.py"))["text"]()
    assert (DOCS / "settings.md").read_text() == generated, "run: python docs/write_settings.py"


def test_the_page_of_the_structure_names_every_package_and_only_existing_files() -> None:
    text = (DOCS / "structure.md").read_text()
    package = PROJECT_DIR / "src" / "valetkey"
    subpackages = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    assert [name for name in sorted(subpackages) if f"`{name}`" not in text] == []
    paths = re.findall(r"`((?:src|tests|docs|examples|decisions|requirements|benchmarks)/[\w./-]*)`", text)
    assert [path for path in paths if not (PROJECT_DIR / path).exists()] == []
    files = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text)
    assert [path for path in files if not (package / path).exists() and not (PROJECT_DIR / path).exists()] == []


def test_every_decision_has_the_same_four_headings() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == DECISION_HEADINGS, page.name
        assert re.match(rf"# {int(page.name[:4])}\. \S", text), page.name
        assert len(text.splitlines()) <= 60, page.name
