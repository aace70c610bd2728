"""`flask valetkey serve` serves the app that Flask finds, and options of the command reach apps with own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.support.program import Program, free_port

APP = """
from flask import Flask
from valetkey import Valetkey, require_oauth


def create(name):
    app = Flask(name)
    Valetkey(app, scopes={"profile": "See your name"}, env_prefix="SHOP_")

    @app.get("/")
    def index():
        return f"the app {name}"

    return app


app = create("found")
"""


def serve(folder: Path, arguments: list[str], variables: Mapping[str, str]) -> tuple[Program, str]:
    """Start ``flask ARGUMENTS valetkey serve`` in a folder. Return the program and its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return not httpx.get(url, timeout=5).is_server_error
        except httpx.TransportError:
            return False

    program = Program(
        [sys.executable, "-m", "flask", *arguments, "valetkey", "serve", "--port", str(port)],
        log=folder / "log",
        is_ready=is_ready,
        environment={**os.environ, **variables},
        cwd=folder,
    )
    return program, url


@pytest.mark.parametrize(
    ("file", "arguments", "variables", "name"),
    [
        ("app.py", [], {}, "found"),
        ("wsgi.py", [], {}, "found"),
        ("shop.py", [], {"FLASK_APP": "shop.py"}, "found"),
        ("shop.py", ["--app", "shop"], {}, "found"),
        ("shop.py", ["--app", "shop:create('made')"], {}, "made"),
    ],
)
def test_the_workers_serve_the_app_of_the_flask_command(
    tmp_path: Path, file: str, arguments: list[str], variables: Mapping[str, str], name: str
) -> None:
    (tmp_path / file).write_text(APP)
    program, url = serve(tmp_path, arguments, variables)
    try:
        assert httpx.get(url).text == f"the app {name}"
        metadata = httpx.get(f"{url}/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == url, "`serve` on a loopback socket sets the issuer"
        assert httpx.post(f"{url}/oauth/register", json={"redirect_uris": ["https://a.example/"]}).status_code == 201
    finally:
        program.kill()


def test_the_data_directory_of_the_command_reaches_an_app_with_another_prefix(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    command = [sys.executable, "-m", "valetkey", "--app", "app.py", "--data-dir", "elsewhere", "init"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "elsewhere" / "valetkey.db").exists()
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("variables", [{}, {"SHOP_ISSUER": "https://api.example.com"}])
def test_init_demo_needs_a_loopback_issuer_that_was_set(tmp_path: Path, variables: Mapping[str, str]) -> None:
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-m", "valetkey", "--app", "app.py", "init", "--demo"]

    refused = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )

    assert refused.returncode == 1 and "--demo" in refused.stderr
    assert ("SHOP_ISSUER=http://127.0.0.1:8000" in refused.stderr) == (not variables)
    assert not (tmp_path / "var").exists()
    accepted = {**os.environ, "SHOP_ISSUER": "http://127.0.0.1:8000"}
    assert subprocess.run(command, cwd=tmp_path, env=accepted, capture_output=True, check=False).returncode == 0
