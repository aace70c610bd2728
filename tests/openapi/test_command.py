"""The output of ``valetkey openapi``, whatever the encoding of the terminal and the defaults of the types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from valetkey.cli import main

APP = """
from flask import Flask
from pydantic import BaseModel
from valetkey import Valetkey, describe, public

class Book(BaseModel):
    title: str = "日本"
    price: float = float("inf")

app = Flask(__name__)
Valetkey(app)
app.add_url_rule("/api/books", "books", describe(response=Book)(public(lambda: {})))
"""


@pytest.fixture
def app_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "app.py"
    file.write_text(APP)
    return file


def test_the_document_is_json_in_utf_8_and_can_be_compared_with_itself(app_file: Path) -> None:
    runner, command = CliRunner(charset="latin-1"), ["--app", str(app_file), "openapi"]
    old = app_file.with_name("old.json")

    printed = runner.invoke(main, command)
    written = runner.invoke(main, [*command, "-o", str(old)])

    assert (printed.exit_code, written.exit_code) == (0, 0), printed.output + written.output
    document = json.loads(printed.stdout_bytes.decode())
    assert document == json.loads(old.read_bytes())
    assert "日本" in json.dumps(document, ensure_ascii=False)
    assert runner.invoke(main, [*command, "--check", str(old)]).stdout == "compatible\n"


def test_text_that_the_terminal_cannot_show_is_escaped(app_file: Path) -> None:
    old = app_file.with_name("old.json")
    old.write_text(json.dumps({"paths": {"/日本": {"get": {}}}}))

    result = CliRunner(charset="latin-1").invoke(main, ["--app", str(app_file), "openapi", "--check", str(old)])

    assert result.stdout == "breaking: the path /\\u65e5\\u672c was removed\n"
