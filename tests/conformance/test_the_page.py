"""docs/conformance.md tells what these tests show, and nothing that is not so."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

from tests.conformance.relying_party import RelyingParty

DOCS = Path(__file__).parents[2] / "docs"
WRITER: dict[str, Any] = runpy.run_path(str(DOCS / "write_conformance.py"))


def test_the_page_is_written_from_the_tests() -> None:
    assert (DOCS / "conformance.md").read_text() == WRITER["text"](), "run: python docs/write_conformance.py"


def test_what_is_said_not_to_be_offered_is_not_in_the_metadata(rp: RelyingParty) -> None:
    """Else it is offered: take its row from NOT_OFFERED."""
    told = rp.get("/.well-known/openid-configuration").json

    for what, shown_by, _ in WRITER["NOT_OFFERED"]:
        member, _, value = shown_by.partition("=")
        assert value not in told.get(member, []) if value else member not in told, what


def test_what_the_suites_browser_is_told_is_on_the_pages() -> None:
    """Each element that it fills in or clicks is in docs/pages.md, which is held to the real pages."""
    [block] = re.findall(r"```json\n(.*?)```", (DOCS / "conformance.md").read_text(), re.S)
    commands = [command for visit in json.loads(block) for task in visit["tasks"] for command in task["commands"]]
    listed = re.findall(r"^\| `#?([^`]+)` \|", (DOCS / "pages.md").read_text(), re.M)

    assert {command[2] for command in commands if command[0] in {"text", "click"}} <= {*listed}
