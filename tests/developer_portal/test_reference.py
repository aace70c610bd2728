"""The reference page, as a browser without JavaScript has it, and its own client."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.conftest import MakeApp
from valetkey import Plan
from valetkey.developer_portal.docs_client import DOCS_CLIENT_ID, register_docs_client
from valetkey.developer_portal.schema_text import SchemaDescriber
from valetkey.runtime import Runtime
from valetkey.storage import clients


def test_each_operation_shows_its_scope_in_words_its_limit_and_a_call(app: Flask) -> None:
    page = app.test_client().get("/docs").text
    assert "Needs the scope <code>profile</code>" in page
    assert "60 calls a minute, 6 at once, for each network address." in page
    assert "curl http://127.0.0.1:8000/api/protected" in page
    assert "Authorization: Bearer $TOKEN" in page


def test_the_plans_are_told_with_what_they_allow(make_app: MakeApp, sqlite_store_url: str) -> None:
    plans = {"free": Plan(limit="60/minute", quota="10000/month"), "pro": Plan(approval="manual")}
    page = make_app(sqlite_store_url, plans=plans, default_plan="free").test_client().get("/docs").text

    assert "60 calls a minute, 6 at once; 10,000 calls in each month (UTC), for each app" in page
    assert "As many calls as the operations allow, for each app over all operations. Whoever runs the API" in page


def test_the_page_runs_its_own_script_and_no_other(app: Flask) -> None:
    answer = app.test_client().get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=", answer.text)
    assert "script-src" not in app.test_client().get("/account/sign-in").headers["Content-Security-Policy"]


def test_words_of_the_publisher_are_no_markup(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, api_description="<script>alert(1)</script>")

    @app.get("/api/<string:name>")
    def hostile(name: str) -> str:
        """An `<img src=x>` of words."""
        return name

    page = app.test_client().get("/docs").text
    assert "<script>alert" not in page
    assert "<img src=x>" not in page


def test_the_client_is_there_when_the_page_is_first_shown_and_moves_with_the_issuer(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    first = make_app(sqlite_store_url)
    first.test_client().get("/docs")
    runtime: Runtime = first.extensions["valetkey"]
    known = clients.find(runtime.store, DOCS_CLIENT_ID, runtime.clock())
    assert known is not None
    assert (known.policy.name, known.is_public, known.grant_types) == ("browser", True, {"authorization_code"})
    assert known.redirect_uris == ("http://127.0.0.1:8000/docs/authorized",)

    second = make_app(sqlite_store_url, issuer="http://127.0.0.1:9000", docs_path="/reference", site_name="Notebook")
    second.test_client().get("/reference")
    moved = clients.find(runtime.store, DOCS_CLIENT_ID, runtime.clock())
    assert moved is not None and moved.redirect_uris == ("http://127.0.0.1:9000/reference/authorized",)
    assert moved.name == "Notebook: API reference"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("open", "by <code>POST /oauth/register</code> (RFC 7591)."),
        ("approve", "waits until whoever runs this API lets it in."),
        ("closed", "gets its <code>client_id</code> from whoever runs this API."),
    ],
)
def test_a_developer_reads_how_an_app_is_registered(
    make_app: MakeApp, sqlite_store_url: str, policy: str, words: str
) -> None:
    page = make_app(sqlite_store_url, registration_policy=policy).test_client().get("/docs").text

    assert words in " ".join(page.split()).replace(" ,", ",")
    assert 'use a <a href="/account/tokens">personal access token</a>' in page


def test_an_operator_who_disables_the_client_takes_the_button_away(app: Flask, runtime: Runtime) -> None:
    register_docs_client(runtime)
    known = clients.find(runtime.store, DOCS_CLIENT_ID, runtime.clock())
    assert known is not None
    runtime.revoke(clients.change(known, disabled_at=runtime.clock()))
    register_docs_client(runtime)
    page = app.test_client().get("/docs").text
    assert 'id="authorize-form"' not in page
    assert "out of service" in page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer, 1 or more, 9 or less"),
        ({"type": "string", "minLength": 2, "maxLength": 2}, "string, 2 characters"),
        ({"type": "string", "format": "uuid"}, "string (uuid)"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Note"}}, "list of Note"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["a", None, 3]}, "one of a, null, 3"),
        ({"type": ["string", "null"]}, "string or null"),
        ({}, "any"),
    ],
)
def test_a_schema_in_words(schema: dict[str, object], words: str) -> None:
    assert SchemaDescriber({"Note": {"type": "object"}}).describe_type(schema) == words


def test_a_schema_that_holds_itself_has_members_and_an_example_with_an_end() -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "below": {"type": "array", "items": {"$ref": "#/x/Tree"}}},
    }
    words = SchemaDescriber({"Tree": tree})
    assert [one.name for one in words.members(tree)] == ["name", "below"] * 4
    assert "below" in words.example(tree)
