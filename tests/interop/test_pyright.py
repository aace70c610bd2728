"""Pyright, the type checker of many editors, checks programs that use Valetkey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import valetkey
from tests.interop.node_program import NODE_DIR
from tests.support.program import NotInstalled, find_program

PROGRAM = """
from typing import reveal_type
from flask import Blueprint, Flask
from valetkey import Plan, ResourceServer, Valetkey, protect, require_oauth

app = Flask(__name__)
Valetkey(app, scopes={"a": "A"}, plans={"free": Plan(limit="1/second")}, default_plan="free", cors="any")
ResourceServer(app, trusted_issuers=["https://id.example"], resource="https://api.example", scopes={"a": "A"})
protect(Blueprint("b", __name__), "a", limit="1/second")


@app.get("/api/notes/<int:number>")
@require_oauth("a", limit="1/second")
def note(number: int, *, full: bool = False) -> str:
    return str(number)


reveal_type(note)
"""
REVEALED = 'Type of "note" is "(number: int, *, full: bool = False) -> str"'


def _check(folder: Path, program: str) -> list[dict[str, str]]:
    """Return the messages of pyright about a program, in strict mode."""
    pyright = NODE_DIR / "node_modules" / "pyright" / "index.js"
    if not pyright.is_file():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    (folder / "program.py").write_text(program)
    paths = [str(Path(valetkey.__file__).parents[1])]
    configuration = {"typeCheckingMode": "strict", "extraPaths": paths, "include": ["program.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(configuration))
    result = subprocess.run(
        [find_program(["node"], package="nodejs"), str(pyright), "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=180,
        check=False,
    )
    if result.returncode not in {0, 1}:
        pytest.fail(result.stdout + result.stderr)
    messages: list[dict[str, str]] = json.loads(result.stdout)["generalDiagnostics"]
    return messages


def test_pyright_accepts_a_correct_program_and_shows_the_parameters_of_a_protected_view(tmp_path: Path) -> None:
    messages = _check(tmp_path, PROGRAM)

    assert [message["message"] for message in messages if message["severity"] == "error"] == []
    assert REVEALED in [message["message"] for message in messages]


def test_pyright_reports_misspelt_settings_wrong_types_and_wrong_calls_of_a_view(tmp_path: Path) -> None:
    wrong = [
        'Valetkey(app, isuer="https://api.example.com")',
        'Valetkey(app, access_token_lifetime="15 minutes")',
        'Valetkey(app, log_format="xml")',
        'ResourceServer(app, database_url="sqlite:///x.db")',
        'protect(Blueprint("b", __name__), limits="1/second")',
        'note("five")',
    ]
    program = PROGRAM + "\n".join(wrong) + "\n"
    lines = program.splitlines()

    errors = {
        lines[message["range"]["start"]["line"]]  # type: ignore[index, call-overload]  # parsed JSON
        for message in _check(tmp_path, program)
        if message["severity"] == "error"
    }
    assert errors == set(wrong)
