"""``examples/atlas``: the commands of its README run, its description is up to date, and its own tests pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.journeys.checkout import PROJECT_DIR, activated_environment, search_log
from tests.support.program import Program, free_port

ATLAS = PROJECT_DIR / "examples" / "atlas"
INSTALL_AND_SERVE, READ, WRITE, SUBSCRIBE, TEST, DESCRIBE = re.findall(
    r"^```sh\n(.*?)^```", (ATLAS / "README.md").read_text(), re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class RunningAtlas:
    """Atlas, served from a copy of its folder."""

    folder: Path
    port: int
    server: Program

    def run_script(self, script: str, **more_environment: str) -> str:
        """Run a code block of the README and return its output. The port in it is replaced with the server's."""
        process = run(["bash", "-ec", script.replace("8000", str(self.port))], self.folder, **more_environment)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAtlas]:
    folder = tmp_path_factory.mktemp("atlas") / "atlas"
    shutil.copytree(ATLAS, folder, ignore=shutil.ignore_patterns("var", "__pycache__"))
    install, change_folder, serve = INSTALL_AND_SERVE.splitlines()
    # Not run: the package is installed already, and the copy of the folder is used.
    assert (install, change_folder) == ("pip install . pycountry", "cd examples/atlas")
    port = free_port()
    server = Program(
        ["bash", "-c", f"exec {serve} --port {port}"],
        log=folder.parent / "log",
        is_ready=lambda: _is_ready(port),
        environment=activated_environment(),
        cwd=folder,
    )
    yield RunningAtlas(folder, port, server)
    server.kill()


def test_public_routes_need_no_token(atlas: RunningAtlas) -> None:
    countries, subdivisions = (json.loads(atlas.run_script(line)) for line in READ.splitlines())

    assert [country["name"] for country in countries["items"]] == ["Côte d'Ivoire"]
    assert "Lisboa" in [subdivision["name"] for subdivision in subdivisions["items"]]


def test_a_user_creates_a_list_with_a_token_from_the_browser(atlas: RunningAtlas) -> None:
    email, password = search_log(atlas.server.log, r"User:\s+(\S+)\s+password: (\S+)")
    browser = f"{sys.executable} -m tests.journeys.browser_command %s &"
    path = f"{PROJECT_DIR}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"

    output = atlas.run_script(WRITE, EMAIL=email, PASSWORD=password, BROWSER=browser, PYTHONPATH=path)

    assert json.loads(output)["places"] == [{"code": "PT-11", "note": "Alfama"}]
    assert {path.name for path in (atlas.folder / "var").glob("*.db")} >= {"atlas.db", "valetkey.db"}


def test_the_operator_approves_the_plan_of_an_app(atlas: RunningAtlas) -> None:
    issuer = f"http://127.0.0.1:{atlas.port}"

    output = atlas.run_script(SUBSCRIBE + "valetkey --app atlas plans list\n", VALETKEY_ISSUER=issuer)

    assert output.splitlines()[-1].split() == ["tourist", "pro"]


def test_the_openapi_document_in_the_repository_is_up_to_date(atlas: RunningAtlas) -> None:
    output = atlas.run_script(DESCRIBE)

    assert output.splitlines()[0] == "compatible"
    written = (atlas.folder / "openapi.json").read_text().replace(f"127.0.0.1:{atlas.port}", "127.0.0.1:8000")
    assert written == (ATLAS / "openapi.json").read_text()


def test_the_tests_of_the_example_pass() -> None:
    process = run(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"], ATLAS)

    assert process.returncode == 0, process.stdout + process.stderr
    assert TEST == "python -m pytest\n"


def run(command: list[str], folder: Path, **more_environment: str) -> subprocess.CompletedProcess[str]:
    options = {"cwd": folder, "env": activated_environment() | more_environment, "capture_output": True, "text": True}
    return subprocess.run(command, check=False, timeout=120, **options)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/countries/PT", timeout=5).is_success
    except httpx.TransportError:
        return False
