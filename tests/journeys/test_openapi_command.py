"""``valetkey openapi``: print or write the OpenAPI document, and find breaking changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.support.valetkey_server import Deployment

APP = Path(__file__).with_name("api_with_reference.py")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("openapi"), app=APP)  # no `init`: the document needs no database


def test_the_document_is_printed_or_written(deployment: Deployment) -> None:
    printed = json.loads(deployment.run("openapi"))
    validate(printed)
    assert set(printed["paths"]) == {"/api/notes", "/api/status/{colour}"}
    file = deployment.data_dir / "openapi.json"
    assert deployment.run("openapi", "-o", str(file)) == ""
    assert json.loads(file.read_text()) == printed


def test_the_oauth_endpoints_have_their_own_document(deployment: Deployment) -> None:
    document = json.loads(deployment.run("openapi", "--oauth"))
    validate(document)
    assert {"/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"} <= set(document["paths"])


def test_breaking_changes_are_printed_and_the_exit_status_is_1(deployment: Deployment) -> None:
    old = deployment.data_dir / "old.json"
    deployment.run("openapi", "-o", str(old))
    assert deployment.run("openapi", "--check", str(old)) == "compatible\n"

    document = json.loads(old.read_text())
    document["paths"]["/api/gone"] = {"get": {"responses": {"200": {"description": "OK"}}}}
    old.write_text(json.dumps(document))
    with pytest.raises(AssertionError, match=r"exit code 1\n.*breaking: the path /api/gone was removed"):
        deployment.run("openapi", "--check", str(old))


def test_the_old_document_may_be_overwritten_by_the_new_one(deployment: Deployment) -> None:
    file = deployment.data_dir / "current.json"
    deployment.run("openapi", "-o", str(file))
    document = json.loads(file.read_text())
    document["paths"]["/api/gone"] = {"get": {"responses": {"200": {"description": "OK"}}}}
    file.write_text(json.dumps(document))

    with pytest.raises(AssertionError, match="the path /api/gone was removed"):
        deployment.run("openapi", "-o", str(file), "--check", str(file))

    assert "/api/gone" not in json.loads(file.read_text())["paths"]


@pytest.mark.parametrize("paths", ['{"/api/status/{colour}": []}', '{"/api/notes": {"get": {"parameters": 1}}}'])
def test_a_malformed_old_document_is_refused_with_a_message(deployment: Deployment, paths: str) -> None:
    malformed = deployment.data_dir / "malformed.json"
    malformed.write_text(f'{{"openapi": "3.1.0", "paths": {paths}}}')
    with pytest.raises(AssertionError, match=r"the older file (cannot be read as|is not) an OpenAPI document"):
        deployment.run("openapi", "--check", str(malformed))


@pytest.mark.parametrize("document", ['{"openapi": "3.1.0"}', '{"openapi": "3.1.0", "paths": ["/a"]}'])
def test_an_old_document_without_paths_is_refused_with_a_message(deployment: Deployment, document: str) -> None:
    without_paths = deployment.data_dir / "without_paths.json"
    without_paths.write_text(document)
    with pytest.raises(AssertionError, match="not an OpenAPI document"):
        deployment.run("openapi", "--check", str(without_paths))
