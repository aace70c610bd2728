"""Write docs/settings.md from ``Settings``: ``python docs/write_settings.py``."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

from valetkey.settings import Settings

HEAD = """# Settings

Set each one as a keyword of `Valetkey(...)`, as `VALETKEY_<NAME>` in the environment of the `valetkey` command, or as
`app.config["VALETKEY_<NAME>"]`; the first of these takes precedence. In the environment a list is separated by commas,
a mapping is JSON, and an empty value stands for `None`. If a name is unknown or a value is invalid, the server does not
start, and one error message lists all problems.

| Setting | Default | Description |
|---|---|---|
"""


def text() -> str:
    """Return the page, with one row for each setting in the order of the class."""
    rows = []
    for setting in fields(Settings):
        default = setting.default if setting.default is not MISSING else {}
        json_value = list(default) if isinstance(default, tuple) else default
        default_text = "None" if default is None else json.dumps(json_value)
        description = str(setting.metadata["doc"]).replace("|", "\\|")
        rows.append(f"| `{setting.name}` | `{default_text}` | {description} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(text())
