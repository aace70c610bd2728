"""Spectral, a linter, finds no errors in the OpenAPI documents of Valetkey."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.interop.node_program import NODE_DIR
from tests.support.app import MakeApp
from tests.support.openapi_apps import PETS_APPS, create_notes_api
from tests.support.program import NotInstalled, find_program
from valetkey.authorization_server.openapi import build_oauth_document
from valetkey.openapi.document import build_document


def _served_document(make_app: MakeApp, store: str) -> dict[str, Any]:
    document: dict[str, Any] = make_app(store).test_client().get("/openapi.json").get_json()
    return document


def test_spectral_finds_no_error_in_the_openapi_documents(
    make_app: MakeApp, sqlite_store_url: str, tmp_path: Path
) -> None:
    app: Flask = make_app(sqlite_store_url)
    documents = {
        "routes": build_document(create_notes_api()),
        "served": _served_document(make_app, sqlite_store_url),
        "oauth": build_oauth_document(app.extensions["valetkey"].settings),
        **{name: create_app()[1] for name, create_app in PETS_APPS.items()},
    }
    # Spectral supports OpenAPI up to 3.1; the document of flask-openapi, which is 3.2, uses no feature of 3.2.
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**document, "openapi": "3.1.0"}))

    assert _errors(tmp_path) == []


def test_spectral_reports_duplicate_operation_ids(tmp_path: Path) -> None:
    document = build_document(create_notes_api())
    document["paths"]["/api/notes"]["get"]["operationId"] = "notes_add"
    (tmp_path / "wrong.json").write_text(json.dumps(document))

    assert [error["code"] for error in _errors(tmp_path)] == ["operation-operationId-unique"]


def _errors(folder: Path) -> list[dict[str, Any]]:
    program = NODE_DIR / "node_modules" / "@stoplight" / "spectral-cli" / "dist" / "index.js"
    if not program.is_file():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    files = [str(path) for path in sorted(folder.glob("*.json"))]
    result = subprocess.run(
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
    if result.returncode not in {0, 1}:
        pytest.fail(result.stdout + result.stderr)
    findings: list[dict[str, Any]] = json.loads(result.stdout[result.stdout.index("[") :])
    return [finding for finding in findings if finding["severity"] == 0]
