"""Swagger UI on another origin, as in docs/api_reference.md: its popup signs a user in, and it calls the API."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

import tests.journeys
from tests.interop.node_program import NODE_DIR
from tests.interop.web_server import WebServer
from tests.support.fixtures import StartServer
from tests.support.program import NotInstalled
from tests.support.readme_blocks import find_blocks, read_page
from tests.support.user import EMAIL, PASSWORD
from tests.support.valetkey_server import RunningServer

DISTRIBUTION = NODE_DIR / "node_modules" / "swagger-ui-dist"
API = Path(tests.journeys.__file__).with_name("api_with_reference.py")
_CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "oauth2-redirect.html", "oauth2-redirect.js")
_REGISTER, _SCRIPT = (
    find_blocks("Use Swagger UI", language, read_page("api_reference.md"))[0] for language in ("sh", "js")
)
_PAGE = """<!doctype html><meta charset="utf-8"><title>Swagger UI</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger-ui.css"><div id="swagger-ui"></div><script src="/swagger-ui-bundle.js"></script>
<script>%s</script>"""


@pytest.fixture
def server(start_server: StartServer) -> RunningServer:
    """A server with an API of its own and Maya's account."""
    running = start_server(app=API)
    running.deployment.create_user(EMAIL, PASSWORD)
    return running


@pytest.fixture
def swagger_ui(server: RunningServer) -> Iterator[str]:
    """The URL of Swagger UI, which is a public client of the server."""
    if not DISTRIBUTION.is_dir():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    with WebServer() as web:
        command = _REGISTER.replace("https://docs.example.com", web.url)
        client = json.loads(server.deployment.run(*shlex.split(command)[1:], "--json"))
        script = _SCRIPT.replace("https://docs.example.com", web.url)
        script = script.replace("https://api.example.com", server.issuer).replace("CLIENT_ID", client["client_id"])
        web.pages["/"] = ("text/html", (_PAGE % script).encode())
        for name in _FILES:
            file = DISTRIBUTION / name
            web.pages[f"/{name}"] = (_CONTENT_TYPES[file.suffix], file.read_bytes())
        yield f"{web.url}/"


def test_swagger_ui_calls_a_protected_route_after_a_sign_in_in_its_popup(page: Page, swagger_ui: str) -> None:
    page.goto(swagger_ui)
    assert _call_the_api(page) == 401

    _sign_in_by_popup(page)

    assert _call_the_api(page) == 200


def _sign_in_by_popup(page: Page) -> None:
    """Press Authorize, select one scope, and let Maya sign in and allow access in the popup; wait until it closes."""
    page.click(".auth-wrapper .authorize")
    form = page.locator(".auth-container", has_text="authorizationCode")
    form.get_by_text("notes:read", exact=True).click()
    with page.expect_popup() as opened:
        form.locator("button.authorize").click()
    popup = opened.value
    popup.fill("[name=email]", EMAIL)
    popup.fill("[name=password]", PASSWORD)
    popup.click("#sign-in")
    with popup.expect_event("close"):
        popup.click("#allow")
    form.get_by_text("Logout").wait_for()
    form.locator(".btn-done").click()


def _call_the_api(page: Page) -> int:
    """Send the request of the protected route from its form. Return the status of the response."""
    operation = page.locator(".opblock-get", has_text="/api/notes")
    if not operation.locator(".try-out__btn").is_visible():
        operation.locator(".opblock-summary-control").click()
        operation.locator(".try-out__btn").click()
    with page.expect_response("**/api/notes*") as response:
        operation.locator("button.execute").click()
    return response.value.status
