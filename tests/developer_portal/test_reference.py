"""The API reference page as a browser without JavaScript shows it, and the page's OAuth client."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from pydantic import create_model

from tests.support.app import MakeApp
from valetkey import Plan, describe
from valetkey.developer_portal.docs_client import DOCS_CLIENT_ID, register_docs_client
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.web.templates import render_template


def test_each_operation_shows_its_scope_its_limit_and_a_curl_call(app: Flask) -> None:
    page = app.test_client().get("/docs").text
    assert "Needs the scope <code>profile</code>" in page
    assert "60 calls a minute, 6 at once, for each network address." in page
    assert "curl http://127.0.0.1:8000/api/protected" in page
    assert "Authorization: Bearer $TOKEN" in page


def test_the_page_shows_what_each_plan_allows(make_app: MakeApp, sqlite_store_url: str) -> None:
    plans = {"free": Plan(limit="60/minute", quota="10000/month"), "pro": Plan(approval="manual")}
    page = make_app(sqlite_store_url, plans=plans, default_plan="free").test_client().get("/docs").text

    assert "60 calls a minute, 6 at once; 10,000 calls in each month (UTC), for each app" in page
    assert "As many calls as the operations allow, for each app over all operations. The operator of the API" in page


def test_the_page_runs_only_its_own_script(app: Flask) -> None:
    page = app.test_client().get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=", page.text)
    assert "script-src" not in app.test_client().get("/account/sign-in").headers["Content-Security-Policy"]


def test_descriptions_and_docstrings_are_escaped(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, api_description="<script>alert(1)</script>")

    @app.get("/api/<string:name>")
    def hostile(name: str) -> str:
        """An `<img src=x>` of words."""
        return name

    page = app.test_client().get("/docs").text
    assert "<script>alert" not in page
    assert "<img src=x>" not in page


def test_the_first_visit_registers_the_client_and_later_settings_update_it(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    first = make_app(sqlite_store_url)
    first.test_client().get("/docs")
    runtime: Runtime = first.extensions["valetkey"]
    client = clients.find(runtime.store, DOCS_CLIENT_ID, runtime.clock())
    assert client is not None
    assert (client.policy.name, client.is_public, client.grant_types) == ("browser", True, {"authorization_code"})
    assert client.redirect_uris == ("http://127.0.0.1:8000/docs/authorized",)

    second = make_app(sqlite_store_url, issuer="http://127.0.0.1:9000", docs_path="/reference", site_name="Notebook")
    second.test_client().get("/reference")
    updated = clients.find(runtime.store, DOCS_CLIENT_ID, runtime.clock())
    assert updated is not None and updated.redirect_uris == ("http://127.0.0.1:9000/reference/authorized",)
    assert updated.name == "Notebook: API reference"


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ("open", "by <code>POST /oauth/register</code> (RFC 7591)."),
        ("approve", "must be approved by the operator of this API."),
        ("closed", "gets its <code>client_id</code> from the operator of this API."),
    ],
)
def test_the_page_says_how_to_register_an_app(
    make_app: MakeApp, sqlite_store_url: str, policy: str, sentence: str
) -> None:
    page = make_app(sqlite_store_url, registration_policy=policy).test_client().get("/docs").text

    assert sentence in " ".join(page.split()).replace(" ,", ",")
    assert 'use a <a href="/account/tokens">personal access token</a>' in page


def test_disabling_the_client_removes_the_authorize_button(app: Flask, runtime: Runtime) -> None:
    register_docs_client(runtime, runtime.clock())
    runtime.store.write_all(clients.set_disabled(DOCS_CLIENT_ID, runtime.clock()))
    register_docs_client(runtime, runtime.clock())
    page = app.test_client().get("/docs").text
    assert 'id="authorize-form"' not in page
    assert "has disabled sign-in from this page" in page


def test_the_page_of_types_that_refer_to_each_other_is_small_and_rendered_once(
    make_app: MakeApp, sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: dict[str, Any] = {}
    for number in range(8):
        members: dict[str, Any] = {f"m{other}": (f"Model{other} | None", None) for other in range(6)}
        models[f"Model{number}"] = create_model(f"Model{number}", **members)
    for model in models.values():
        model.model_rebuild(_types_namespace=models)
    app = make_app(sqlite_store_url)
    for number in range(40):
        view = describe(body=models["Model0"], response=models["Model1"])(lambda: "")
        app.add_url_rule(f"/api/x{number}", f"x{number}", view, methods=["POST"])
    rendered: list[str] = []

    def render(template: str, **context: Any) -> str:
        rendered.append(template)
        return render_template(template, **context)

    monkeypatch.setattr("valetkey.developer_portal.standalone.views.render_template", render)

    pages = [app.test_client().get("/docs").text for _ in range(2)]

    assert pages[0].count('<article class="card operation"') > 40
    assert len(pages[0]) < 1_000_000
    assert pages[0] == pages[1]
    assert rendered == ["reference_operations.html"]
