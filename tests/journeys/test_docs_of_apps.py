"""docs/apps.md: its program signs a user in and calls the API, its commands run, and its error codes exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.checkout import PROJECT_DIR
from tests.support.program import Program, accepts_connections, free_port
from tests.support.readme_blocks import find_blocks, read_page
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol import errors

PAGE = read_page("apps.md")
CREATE, REGISTER = find_blocks("Get a client_id", "sh", PAGE)
(CREATE_BROWSER_APP,) = find_blocks("Sign users in without a server", "sh", PAGE)
(BROWSER_APP,) = find_blocks("Sign users in without a server", "html", PAGE)
CREATE_DEVICE, REQUEST_CODE, REQUEST_TOKEN = find_blocks("Sign users in on a device", "sh", PAGE)
(SHOP,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    quickstart = PROJECT_DIR / "examples" / "quickstart" / "app.py"
    deployment = Deployment(tmp_path_factory.mktemp("apps"), app=str(quickstart))
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


@pytest.mark.parametrize("registered_by", ["the operator", "the app"])
def test_the_program_signs_a_user_in_and_calls_the_api(
    server: RunningServer, tmp_path: Path, registered_by: str
) -> None:
    port = free_port()

    def with_local_urls(text: str) -> str:
        return text.replace("http://127.0.0.1:8000", server.url).replace("5000", str(port))

    (tmp_path / "shop.py").write_text(with_local_urls(SHOP))
    if registered_by == "the operator":
        client = _create_by_command(server, with_local_urls(CREATE))
    else:
        client = _run_script(with_local_urls(REGISTER))
    credentials = {"CLIENT_ID": client["client_id"], "CLIENT_SECRET": client["client_secret"]}
    shop = Program(
        [sys.executable, "shop.py"],
        log=tmp_path / "log",
        is_ready=lambda: _redirects(port),
        environment={**os.environ, **credentials},
        cwd=tmp_path,
    )
    try:
        with User(EMAIL, PASSWORD) as maya, httpx.Client() as browser:
            redirect = browser.get(f"http://127.0.0.1:{port}/")
            api_response = browser.get(maya.allow(redirect.headers["Location"])).json()
    finally:
        shop.kill()
    assert api_response["message"] == "This is a protected API route"
    assert api_response["user"]


def test_an_application_in_the_browser_signs_a_user_in_and_refreshes_its_token(
    server: RunningServer, tmp_path: Path, page: Page
) -> None:
    port = free_port()
    _create_by_command(server, CREATE_BROWSER_APP.replace("5000", str(port)))
    (tmp_path / "index.html").write_text(BROWSER_APP.replace("http://127.0.0.1:8000", server.url))
    files = Program(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        log=tmp_path / "log",
        is_ready=lambda: accepts_connections(port),
        environment=os.environ,
        cwd=tmp_path,
    )
    try:
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_label("E-mail address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.click("#sign-in")
        page.click("#allow")
        expect(page.locator("body")).to_contain_text("This is a protected API route")
        first = page.evaluate("sessionStorage.refresh_token")

        page.reload()

        expect(page.locator("body")).to_contain_text("This is a protected API route")
        assert page.evaluate("sessionStorage.refresh_token") not in {first, "undefined"}
    finally:
        files.kill()


def test_a_device_gets_a_token_for_the_user_who_enters_its_code(server: RunningServer) -> None:
    _create_by_command(server, CREATE_DEVICE)
    code = _run_script(REQUEST_CODE.replace("http://127.0.0.1:8000", server.url))
    with User(EMAIL, PASSWORD) as maya:
        maya.approve_device(code["verification_uri_complete"])

    script = REQUEST_TOKEN.replace("http://127.0.0.1:8000", server.url)
    token = _run_script(f"DEVICE_CODE={code['device_code']}\n{script}")

    assert {"access_token", "refresh_token"} <= token.keys()
    assert code["interval"] == 5


def test_each_error_code_on_the_page_exists() -> None:
    error_codes = {getattr(value, "error", None) for value in vars(errors).values()}
    codes_on_page = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE.split("## Handle errors")[1]))

    assert codes_on_page - error_codes == {
        "error_description", "redirect_uri", "code_verifier", "grant_type", "max_age", "acr_values"
    }  # fmt: skip


def _create_by_command(server: RunningServer, command: str) -> dict[str, str]:
    """Run the command ``valetkey`` of a block, without its line with variables, for the server."""
    arguments = shlex.split(command[command.index("valetkey clients") :])[1:]
    return dict(json.loads(server.deployment.run(*arguments, "--json")))


def _run_script(script: str) -> dict[str, Any]:
    """Run a script and return the JSON object that it prints."""
    process = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
    return dict(json.loads(process.stdout))


def _redirects(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 302
    except httpx.TransportError:
        return False
