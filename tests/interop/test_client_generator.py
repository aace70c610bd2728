"""openapi-python-client generates Python packages from our OpenAPI documents, and such a client calls the API."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask, request
from pydantic import BaseModel

from tests.support.openapi_apps import NOTES_SCOPES, PETS_APPS, create_notes_api, create_notes_app
from tests.support.openapi_names import ROUTES
from valetkey import Valetkey, describe, require_oauth
from valetkey.authorization_server.openapi import build_oauth_document
from valetkey.openapi.document import build_document
from valetkey.testing import mint_token, throw_away_store


def _generate(document: dict[str, Any], folder: Path, package: str) -> None:
    """Generate a Python package from an OpenAPI document; a warning of the generator fails the test."""
    source, config = folder / f"{package}.json", folder / "generator.yaml"
    # It supports OpenAPI up to 3.1; the document of flask-openapi, which is 3.2, uses no feature of 3.2.
    source.write_text(json.dumps({**document, "openapi": "3.1.0"}))
    config.write_text("post_hooks: []\n")  # do not format the code
    result = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", source, "--config", config),
            *("--output-path", folder / package, "--meta", "none", "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _app_with_all_names() -> Flask:
    app = create_notes_app()
    for add_route in ROUTES:
        add_route(app)
    return app


def test_a_client_generator_has_no_complaint_about_the_openapi_documents(tmp_path: Path) -> None:
    app = _app_with_all_names()
    documents = {
        "routes": build_document(create_notes_api()),
        "names": build_document(app),
        "oauth": build_oauth_document(app.extensions["valetkey"].settings),
        **{f"pets_{number}": create()[1] for number, create in enumerate(PETS_APPS.values())},
    }

    for name, document in documents.items():
        _generate(document, tmp_path, name)


class NewNote(BaseModel):
    text: str


class Note(NewNote):
    id: int


def test_a_generated_client_calls_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("notes")
    Valetkey(app, scopes=NOTES_SCOPES)

    @app.post("/api/notes")
    @require_oauth("notes:write")
    @describe(body=NewNote, response=Note, status=201)
    def add_note() -> Any:
        return {**request.get_json(), "id": 1}, 201

    with throw_away_store(app):
        _generate(app.test_client().get("/openapi.json").get_json(), tmp_path, "notes_client")
        monkeypatch.syspath_prepend(tmp_path)
        package, models, operation = map(
            importlib.import_module, ("notes_client", "notes_client.models", "notes_client.api.default.add_note")
        )
        client = package.AuthenticatedClient(
            base_url="http://127.0.0.1:8000",
            token=mint_token(app, "notes:write", user_id="ada"),
            httpx_args={"transport": httpx.WSGITransport(app=app)},
        )
        with client:
            note = operation.sync(client=client, body=models.NewNote(text="Milk"))

    assert note == models.Note(id=1, text="Milk")
