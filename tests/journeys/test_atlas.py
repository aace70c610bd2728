"""``examples/atlas``: its README as it stands there, its own tests, run as its publisher would."""

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

from tests.journeys.checkout import PROJECT_DIR, search_log
from tests.support.program import Program, free_port

ATLAS = PROJECT_DIR / "examples" / "atlas"
INSTALL_AND_SERVE, READ, WRITE, SUBSCRIBE, TEST, DESCRIBE = re.findall(
    r"^```sh\n(.*?)^```", (ATLAS / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
PATH = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True)
class Served:
    """Atlas, served from a copy of its folder."""

    folder: Path
    port: int
    server: Program

    def paste(self, script: str, **more: str) -> str:
        """Run what a block says and answer what it prints."""
        script = script.replace("8000", str(self.port))  # the one that is free here
        done = run(["bash", "-ec", script], self.folder, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("atlas") / "atlas"
    shutil.copytree(ATLAS, folder, ignore=shutil.ignore_patterns("var", "__pycache__"))
    install, go_there, serve = INSTALL_AND_SERVE.splitlines()
    assert (install, go_there) == ("pip install . pycountry", "cd examples/atlas")  # done here, in other words
    port = free_port()
    server = Program(
        ["bash", "-c", f"exec {serve} --port {port}"],
        log=folder.parent / "log",
        is_ready=lambda: _answers(port),
        environment=environment(),
        cwd=folder,
    )
    yield Served(folder, port, server)
    server.kill()


def test_everybody_reads_the_world(atlas: Served) -> None:
    found, parts = (json.loads(atlas.paste(line)) for line in READ.splitlines())

    assert [one["name"] for one in found["items"]] == ["Côte d'Ivoire"]
    assert "Lisboa" in [one["name"] for one in parts["items"]]


def test_a_person_makes_a_list_through_the_browser(atlas: Served) -> None:
    email, password = search_log(atlas.server.log, r"User:\s+(\S+)\s+password: (\S+)")
    browser = f"{sys.executable} -m tests.journeys.browser_command %s &"
    path = f"{PROJECT_DIR}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"

    made = json.loads(atlas.paste(WRITE, EMAIL=email, PASSWORD=password, BROWSER=browser, PYTHONPATH=path))

    assert made["places"] == [{"code": "PT-11", "note": "Alfama"}]
    assert {path.name for path in (atlas.folder / "var").glob("*.db")} >= {"atlas.db", "valetkey.db"}


def test_the_operator_gives_an_app_a_plan(atlas: Served) -> None:
    issuer = f"http://127.0.0.1:{atlas.port}"

    told = atlas.paste(SUBSCRIBE + "valetkey --app atlas plans list\n", VALETKEY_ISSUER=issuer).splitlines()

    assert told[-1].split() == ["tourist", "pro"]


def test_the_description_in_the_repository_is_what_the_command_writes(atlas: Served) -> None:
    told = atlas.paste(DESCRIBE)

    assert told.splitlines()[0] == "compatible"
    written = (atlas.folder / "openapi.json").read_text().replace(f"127.0.0.1:{atlas.port}", "127.0.0.1:8000")
    assert written == (ATLAS / "openapi.json").read_text()


def test_its_own_tests_pass() -> None:
    done = run([*["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]], ATLAS)

    assert done.returncode == 0, done.stdout + done.stderr
    assert TEST == "python -m pytest\n"


def run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    asked = {"cwd": folder, "env": environment() | more, "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(command, check=False, **asked)


def environment() -> dict[str, str]:
    """What somebody has set who has entered a virtual environment and set nothing else."""
    ours = ("VALETKEY_", "ATLAS_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PATH": PATH}


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/countries/PT", timeout=5).is_success
    except httpx.TransportError:
        return False
