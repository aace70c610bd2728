"""Schemathesis generates calls from the OpenAPI documents: every response is documented, none is a server error."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask, jsonify
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.app import MakeApp
from valetkey import Plan
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.openapi import build_oauth_document

_EXAMPLES = 15
_CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
Try = Callable[[Flask, str, dict[str, str]], int]


def _call_all(app: Flask, path: str, headers: dict[str, str]) -> int:
    """Call every operation of the document at this path with generated values. Return the number of calls."""
    schema = schemathesis.openapi.from_wsgi(path, app)
    calls = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            nonlocal calls
            case.call_and_validate(headers=headers, checks=_CHECKS)
            calls += 1

        call()
    return calls


@pytest.fixture
def quickstart(make_app: MakeApp, sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Flask:
    """The app of ``examples/quickstart``, with a database of its own."""
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).parents[2] / "examples" / "quickstart" / "app.py"
    spec = util.spec_from_file_location("quickstart_described", path)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: Flask = module.app
    return app


def test_the_quickstart_responds_as_its_document_says(quickstart: Flask) -> None:
    http = quickstart.test_client()
    validate(http.get("/openapi.json").get_json())
    runtime = quickstart.extensions["valetkey"]
    runtime.get_ready()
    robot = register_client(runtime, runtime.clock(), name="Robot", policy="machine", scope="profile")
    assert robot.secret is not None
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": robot.secret.reveal()}
    token = http.post("/oauth/token", data=form).get_json()["access_token"]
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer  x y"}):
        assert _call_all(quickstart, "/openapi.json", headers) > 1
    runtime.close()


def test_the_oauth_endpoints_respond_as_their_document_says(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, plans={"free": Plan(), "pro": Plan(approval="manual")}, default_plan="free")
    runtime = app.extensions["valetkey"]
    document = build_oauth_document(runtime.settings)
    validate(document)
    assert "/oauth/plan" in document["paths"]
    app.add_url_rule("/document.json", "document", lambda: jsonify(document))
    robot = register_client(runtime, runtime.clock(), name="Robot", policy="machine")
    assert robot.secret is not None
    basic = b64encode(f"{robot.client_id}:{robot.secret.reveal()}".encode()).decode()
    for headers in ({}, {"Authorization": f"Basic {basic}"}):
        assert _call_all(app, "/document.json", headers) > 100
