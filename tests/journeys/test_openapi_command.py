"""``valetkey openapi``: the document as a file, and what a new one breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.support.valetkey_server import Deployment

APP = Path(__file__).with_name("api_reference.py")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("openapi"), app=APP)  # no `init`: the document needs no store


def test_the_document_is_printed_or_written(deployment: Deployment) -> None:
    printed = json.loads(deployment.run("openapi"))
    validate(printed)
    assert set(printed["paths"]) == {"/api/notes", "/api/status/{colour}"}
    file = deployment.data_dir / "openapi.json"
    assert deployment.run("openapi", "-o", str(file)) == ""
    assert json.loads(file.read_text()) == printed


def test_the_oauth_endpoints_have_a_description(deployment: Deployment) -> None:
    described = json.loads(deployment.run("openapi", "--oauth"))
    validate(described)
    assert {"/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"} <= set(described["paths"])


def test_breaking_changes_are_told_and_fail(deployment: Deployment) -> None:
    old = deployment.data_dir / "old.json"
    deployment.run("openapi", "-o", str(old))
    assert deployment.run("openapi", "--check", str(old)) == "compatible\n"

    made = json.loads(old.read_text())
    made["paths"]["/api/gone"] = {"get": {"responses": {"200": {"description": "OK"}}}}
    old.write_text(json.dumps(made))
    with pytest.raises(AssertionError, match=r"exit code 1\n.*breaking: the path /api/gone was removed"):
        deployment.run("openapi", "--check", str(old))


def test_the_file_that_is_compared_with_may_be_the_one_that_is_written(deployment: Deployment) -> None:
    file = deployment.data_dir / "kept.json"
    deployment.run("openapi", "-o", str(file))
    made = json.loads(file.read_text())
    made["paths"]["/api/gone"] = {"get": {"responses": {"200": {"description": "OK"}}}}
    file.write_text(json.dumps(made))

    with pytest.raises(AssertionError, match="the path /api/gone was removed"):
        deployment.run("openapi", "-o", str(file), "--check", str(file))

    assert "/api/gone" not in json.loads(file.read_text())["paths"]


@pytest.mark.parametrize(
    "paths", ['["/a"]', '{"/api/status/{colour}": []}', '{"/api/notes": {"get": {"parameters": 1}}}']
)
def test_a_document_that_is_broken_is_told_in_a_sentence(deployment: Deployment, paths: str) -> None:
    wrong = deployment.data_dir / "broken.json"
    wrong.write_text(f'{{"openapi": "3.1.0", "paths": {paths}}}')
    with pytest.raises(AssertionError, match="Error: the older file is no OpenAPI document"):
        deployment.run("openapi", "--check", str(wrong))


def test_a_file_that_is_no_document_is_told_in_a_sentence(deployment: Deployment) -> None:
    wrong = deployment.data_dir / "wrong.json"
    wrong.write_text('{"openapi": "3.1.0"}')
    with pytest.raises(AssertionError, match="no OpenAPI document"):
        deployment.run("openapi", "--check", str(wrong))
