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

import httpx
import pytest

from tests.journeys.checkout import PROJECT_DIR
from tests.support.program import Program, free_port
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol import errors

PAGE = (PROJECT_DIR / "docs" / "apps.md").read_text()
CREATE, REGISTER = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
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
        client = _register_by_script(with_local_urls(REGISTER))
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


def test_each_error_code_on_the_page_exists() -> None:
    error_codes = {getattr(value, "error", None) for value in vars(errors).values()}
    codes_on_page = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE.split("## Handle errors")[1]))

    assert codes_on_page - error_codes == {
        "error_description", "redirect_uri", "code_verifier", "grant_type", "max_age", "acr_values"
    }  # fmt: skip


def _create_by_command(server: RunningServer, command: str) -> dict[str, str]:
    return dict(json.loads(server.deployment.run(*shlex.split(command)[1:], "--json")))


def _register_by_script(script: str) -> dict[str, str]:
    process = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
    return dict(json.loads(process.stdout))


def _redirects(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 302
    except httpx.TransportError:
        return False
