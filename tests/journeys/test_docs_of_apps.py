"""docs/apps.md: its app signs somebody in and calls, its commands run, and its errors are those that there are."""

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


@pytest.mark.parametrize("way", ["by the operator", "by itself"])
def test_the_app_signs_somebody_in_and_calls(server: RunningServer, tmp_path: Path, way: str) -> None:
    port = free_port()

    def here(text: str) -> str:
        return text.replace("http://127.0.0.1:8000", server.url).replace("5000", str(port))

    (tmp_path / "shop.py").write_text(here(SHOP))
    given = _created(server, here(CREATE)) if way == "by the operator" else _registered(here(REGISTER))
    credentials = {"CLIENT_ID": given["client_id"], "CLIENT_SECRET": given["client_secret"]}
    shop = Program(
        [sys.executable, "shop.py"],
        log=tmp_path / "log",
        is_ready=lambda: _redirects(port),
        environment={**os.environ, **credentials},
        cwd=tmp_path,
    )
    try:
        with User(EMAIL, PASSWORD) as maya, httpx.Client() as browser:
            begun = browser.get(f"http://127.0.0.1:{port}/")
            called = browser.get(maya.allow(begun.headers["Location"])).json()
    finally:
        shop.kill()
    assert called["message"] == "This is a protected API route"
    assert called["user"]


def test_each_error_in_the_table_is_one_that_there_is() -> None:
    known = {getattr(one, "error", None) for one in vars(errors).values()}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE.split("## When it is refused")[1]))

    assert named - known == {
        "error_description", "redirect_uri", "code_verifier", "grant_type", "max_age", "acr_values"
    }  # fmt: skip


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (PROJECT_DIR / "docs" / link).exists(), link


def _created(server: RunningServer, command: str) -> dict[str, str]:
    return dict(json.loads(server.deployment.run(*shlex.split(command)[1:], "--json")))


def _registered(command: str) -> dict[str, str]:
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _redirects(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 302
    except httpx.TransportError:
        return False
