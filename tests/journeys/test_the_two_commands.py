"""``make serve``: the pages, the sign-in, and one line to paste that ends in an authorized API call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.interop.person import Person
from tests.services.program import Program, free_port

PROJECT = Path(__file__).parents[2]
MAKE_NEEDS = ("Makefile", "pyproject.toml", "requirements", "examples")
STARTED_WITHIN = 3.0  # seconds, for every start but the first


@pytest.fixture
def make_serve(tmp_path: Path) -> Callable[[], Program]:
    """Run ``make serve`` on a free port, in a checkout of its own whose virtual environment is this one."""
    for name in MAKE_NEEDS:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        copy(PROJECT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    (tmp_path / ".venv" / ".run-installed").touch()
    port = str(free_port())

    def run() -> Program:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        return Program(
            ["make", "serve"],
            log=log,
            is_ready=lambda: _answers(port),
            environment=_without_ours() | {"PORT": port},
            cwd=tmp_path,
        )

    return run


def test_the_line_that_make_serve_prints_ends_in_an_authorized_call(make_serve: Callable[[], Program]) -> None:
    server = make_serve()
    try:
        pasted = subprocess.run(["bash", "-c", _line_to_paste(server.log)], capture_output=True, text=True, check=True)
        assert pasted.stdout.startswith("HTTP/1.1 200 OK")
        assert '"message":"This is a protected API route"' in pasted.stdout

        email, password = _shown(server.log, r"User:\s+(\S+)\s+password: (\S+)")
        account = _shown(server.log, r"Pages:\s+(\S+)")[0]
        with Person(email, password) as demo:
            sign_in = demo.read(_shown(server.log, r"Sign-in:\s+(\S+)")[0])
            assert "Sign in" in sign_in.text
            demo.sign_in(sign_in)
            assert email in demo.read(account).text
    finally:
        server.kill()


def test_a_second_start_is_quick_and_shows_no_secret_again(make_serve: Callable[[], Program]) -> None:
    first = make_serve()
    secret = _shown(first.log, r"secret: (\S+)")[0]
    first.kill()

    took = []
    for _ in range(3):  # the machine may be busy with something else
        began = time.monotonic()
        second = make_serve()
        took.append(time.monotonic() - began)
        log = second.log
        second.kill()
        assert "Sign-in:" in log
        assert secret not in log
        assert "password" not in log
        if took[-1] < STARTED_WITHIN:
            return
    raise AssertionError(f"seconds to the first answer: {took}")


def _line_to_paste(log: str) -> str:
    return next(line.strip() for line in log.splitlines() if line.strip().startswith("curl -i"))


def _shown(log: str, pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, log)
    assert found, log
    return found.groups()


def _answers(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/public", timeout=5).is_success
    except httpx.TransportError:
        return False


def _without_ours() -> dict[str, str]:
    """The environment of somebody who has set nothing; `make test` hands its own variables down."""
    ours = ("VALETKEY_", "MAKE", "MFLAGS", "OIDC_", "VENV", "T")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours[:4]) and name not in ours}
