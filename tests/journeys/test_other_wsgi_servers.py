"""The app runs under other WSGI servers, and ``flask valetkey`` runs Valetkey's commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.program import Program, free_port
from tests.support.user import User

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "app.py"
SERVE = "import sys, werkzeug.serving as w; from app import app; w.run_simple('127.0.0.1', int(sys.argv[1]), app{})"


@pytest.fixture(params=["threaded=True", "processes=3"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The quickstart under Werkzeug's server, with threads and with forked processes; without `serve` and `init`."""
    shutil.copy(QUICKSTART, tmp_path)
    port = free_port()
    text = QUICKSTART.read_text().replace("Valetkey(app, ", f'Valetkey(app, issuer="http://127.0.0.1:{port}", ')
    (tmp_path / "app.py").write_text(text)
    program = Program(
        [sys.executable, "-W", "ignore", "-c", SERVE.format(f", {request.param}"), str(port)],
        log=tmp_path / "log",
        is_ready=lambda: _is_ready(port),
        cwd=tmp_path,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        program.kill()


def test_the_quickstart_works_under_another_server_and_with_the_flask_command(server: str, tmp_path: Path) -> None:
    arguments = ["clients", "create", "--name", "Robot", "--policy", "machine", "--scope", "profile", "--json"]
    flask = [sys.executable, "-m", "flask", "--app", "app.py", "valetkey"]
    client = json.loads(subprocess.run([*flask, *arguments], cwd=tmp_path, capture_output=True, check=True).stdout)

    credentials = (client["client_id"], client["client_secret"])
    for _ in range(5):  # different processes may respond
        response = httpx.post(f"{server}/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)
        header = {"Authorization": f"Bearer {response.json()['access_token']}"}
        assert httpx.get(f"{server}/api/protected", headers=header).json()["user"] is None

    with User("maya@example.com", "a violet tram in june") as maya:
        maya.sign_up(f"{server}/account/sign-up", name="Maya")
        assert "Connected apps" in maya.get_page(f"{server}/account").text


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/public", timeout=5).is_success
    except httpx.TransportError:
        return False
