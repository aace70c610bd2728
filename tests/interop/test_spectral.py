"""Spectral, a linter of OpenAPI documents that we did not write, finds no error in any that we make."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.interop.node_program import NODE_DIR
from tests.openapi.test_extensions import MAKERS
from tests.openapi.test_openapi import _api
from tests.support.app import MakeApp
from tests.support.program import NotInstalled, find_program
from valetkey.authorization_server.openapi import build_oauth_document
from valetkey.openapi.document import build_document


def _quickstart(make_app: MakeApp, store: str) -> dict[str, Any]:
    made: dict[str, Any] = make_app(store).test_client().get("/openapi.json").get_json()
    return made


def test_no_document_has_an_error(make_app: MakeApp, sqlite_store_url: str, tmp_path: Path) -> None:
    app: Flask = make_app(sqlite_store_url)
    documents = {
        "routes": build_document(_api()),
        "served": _quickstart(make_app, sqlite_store_url),
        "oauth": build_oauth_document(app.extensions["valetkey"]),
        **{name: make()[1] for name, make in MAKERS.items()},
    }
    # Spectral knows OpenAPI up to 3.1; what flask-openapi writes as 3.2 differs in nothing that is used here.
    for name, one in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**one, "openapi": "3.1.0"}))

    assert _errors(tmp_path) == []


def test_spectral_sees_two_operations_of_one_name(tmp_path: Path) -> None:
    made = build_document(_api())
    made["paths"]["/api/notes"]["get"]["operationId"] = "notes_add"
    (tmp_path / "wrong.json").write_text(json.dumps(made))

    assert [one["code"] for one in _errors(tmp_path)] == ["operation-operationId-unique"]


def _errors(folder: Path) -> list[dict[str, Any]]:
    program = NODE_DIR / "node_modules" / "@stoplight" / "spectral-cli" / "dist" / "index.js"
    if not program.is_file():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    files = [str(path) for path in sorted(folder.glob("*.json"))]
    done = subprocess.run(
        [
            find_program(["node"], package="nodejs"),
            str(program),
            "lint",
            *files,
            "--ruleset",
            str(NODE_DIR / "spectral.yaml"),
            *("--format", "json", "--fail-severity", "error", "--quiet"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "SCARF_ANALYTICS": "false", "NO_COLOR": "1"},
        timeout=120,
        check=False,
    )
    if done.returncode not in {0, 1}:
        pytest.fail(done.stdout + done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
    return [one for one in found if one["severity"] == 0]
