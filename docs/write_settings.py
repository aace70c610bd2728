"""Write docs/settings.md from ``Settings``: ``python docs/write_settings.py``."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

from valetkey.settings import Settings

HEAD = """# Settings

Each is a keyword of `Valetkey(...)`, else `VALETKEY_<NAME>` in the environment of the `valetkey` command, else
`app.config["VALETKEY_<NAME>"]`; the first that is given counts. In the environment a list is separated by commas,
a mapping is JSON, and an empty value stands for `None`. Unknown names and values that contradict each other stop
the start, all told together.

| name | default | what it is |
|---|---|---|
"""


def text() -> str:
    """The page, with one row for each field in the order of the class."""
    rows = []
    for one in fields(Settings):
        default = one.default if one.default is not MISSING else {}
        shown = json.dumps(list(default) if isinstance(default, tuple) else default) if default is not None else "None"
        about = str(one.metadata["doc"]).replace("|", "\\|")
        rows.append(f"| `{one.name}` | `{shown}` | {about} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(text())
