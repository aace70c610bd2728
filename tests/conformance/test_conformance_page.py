"""docs/conformance.md is up to date and consistent with the metadata and the pages."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

from tests.conformance.relying_party import RelyingParty

DOCS = Path(__file__).parents[2] / "docs"
WRITER: dict[str, Any] = runpy.run_path(str(DOCS / "write_conformance.py"))


def test_conformance_md_is_generated_from_the_tests() -> None:
    assert (DOCS / "conformance.md").read_text() == WRITER["text"](), "run: python docs/write_conformance.py"


def test_features_that_are_listed_as_not_offered_are_not_in_the_metadata(rp: RelyingParty) -> None:
    """If this fails, the feature is offered: remove its row from NOT_OFFERED in docs/write_conformance.py."""
    metadata = rp.get("/.well-known/openid-configuration").json

    for feature, metadata_entry, _ in WRITER["NOT_OFFERED"]:
        member, _, value = metadata_entry.partition("=")
        assert value not in metadata.get(member, []) if value else member not in metadata, feature


def test_the_elements_in_the_suites_browser_commands_exist_on_the_pages() -> None:
    """Each element that the suite fills in or clicks is in docs/pages.md, which other tests compare with the pages."""
    [block] = re.findall(r"```json\n(.*?)```", (DOCS / "conformance.md").read_text(), re.S)
    commands = [command for page in json.loads(block) for task in page["tasks"] for command in task["commands"]]
    element_ids = re.findall(r"^\| `#?([^`]+)` \|", (DOCS / "pages.md").read_text(), re.M)

    assert {command[2] for command in commands if command[0] in {"text", "click"}} <= {*element_ids}
