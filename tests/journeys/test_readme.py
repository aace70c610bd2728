"""The README, and the first programs of pages in docs/: every command and every program in them runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from packaging.requirements import Requirement

from tests.journeys.checkout import PROJECT_DIR, Checkout, activated_environment, search_log
from tests.support.program import Program, free_port
from tests.support.readme_blocks import FIVE_MINUTES_COMMANDS, FIVE_MINUTES_PROGRAMS, README, find_blocks, read_page
from valetkey.authorization_server.clients.service import register_client
from valetkey.cli.certificate import ensure_self_signed_certificate

SERVE, CALL = (find_blocks(section, "sh") for section in ("Run the quickstart", "Call the API"))
PROGRAM, USERS = (find_blocks(section, "python") for section in ("Run the quickstart", "Use your own users"))
(FACTORY,) = find_blocks("With an app factory", "python")
(REQUIREMENT,) = find_blocks("Install into your app", "text")
PRODUCTION = find_blocks("", "sh", read_page("operating.md"))
ROUTES = find_blocks("", "python", read_page("protect_routes.md"))
FOR_USERS = find_blocks("Routes that need a user", "python", read_page("protect_routes.md"))
OTHERS = find_blocks("", "python", read_page("resource_server.md"))
QUICKSTART = (PROJECT_DIR / "examples" / "quickstart" / "app.py").read_text()


def test_every_code_block_of_the_readme_is_tested_and_every_link_leads_to_a_file() -> None:
    tested = [
        *FIVE_MINUTES_COMMANDS,
        *SERVE,
        *CALL,
        *FIVE_MINUTES_PROGRAMS,
        *PROGRAM,
        *USERS,
        FACTORY,
        REQUIREMENT,
    ]
    assert README.count("```") == 2 * len(tested)
    for link in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", README):
        assert (PROJECT_DIR / "".join(link).partition("#")[0]).exists(), link


def test_the_program_is_the_quickstart_and_has_at_most_forty_lines_of_code() -> None:
    assert PROGRAM == [QUICKSTART]
    code = [line for line in QUICKSTART.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 40


def test_the_requirement_names_extras_that_the_package_has() -> None:
    requirement = Requirement(REQUIREMENT.strip())

    assert requirement.name == "valetkey"
    assert requirement.extras <= set(metadata("valetkey").get_all("Provides-Extra"))


@pytest.mark.parametrize("program", [FACTORY], indirect=True, ids=["factory"])
def test_the_factory_makes_an_app_with_a_protected_route(program: Flask) -> None:
    assert program.test_client().get("/api/notes").status_code == 401
    assert "Notes" in program.test_client().get("/account/sign-in").text


def test_the_commands_that_serve_and_call_the_quickstart_work(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    serve, test = SERVE[0].splitlines()
    assert test == "make test"  # not run: it runs this test
    server = checkout.start(serve.split())
    try:
        email, password = search_log(server.log, r"User:\s+(\S+)\s+password: (\S+)")
        browser = f"{sys.executable} -m tests.journeys.browser_command %s &"
        user = {
            "EMAIL": email,
            "PASSWORD": password,
            "BROWSER": browser,
            "PYTHONPATH": f"{PROJECT_DIR / 'src'}:{PROJECT_DIR}",
        }
        output = _run(checkout, "".join(CALL), user)
    finally:
        server.kill()
    called_as_robot, called_as_user = (json.loads(line) for line in output.splitlines())
    assert called_as_robot == {"message": "This is a protected API route", "user": None}
    assert called_as_user["message"] == "This is a protected API route"
    assert called_as_user["user"]


def test_the_commands_for_production_serve_with_tls_postgresql_and_redis(
    tmp_path: Path, postgresql_url: str, redis_url: str
) -> None:
    Checkout(tmp_path)
    (tmp_path / "app.py").write_text(QUICKSTART)
    certificate, key = ensure_self_signed_certificate(tmp_path, ["127.0.0.1"])
    certificate.rename(tmp_path / "cert.pem")
    key.rename(tmp_path / "key.pem")
    port = free_port()
    replacements = {  # addresses that are different here
        "https://api.example.com": f"https://127.0.0.1:{port}",
        "postgresql://valetkey@127.0.0.1:5432/valetkey": postgresql_url,
        "redis://127.0.0.1:6379/0": redis_url,
        "0.0.0.0": "127.0.0.1",
        "--port 443": f"--port {port}",
    }
    exports = "".join(line + "\n" for line in PRODUCTION[0].splitlines() if line.startswith("export"))
    script = (
        "set -e\n. .venv/bin/activate\n" + exports + PRODUCTION[0]
    )  # the exports twice: the keys must stay the same
    for original, replacement in replacements.items():
        assert original in script
        script = script.replace(original, replacement)
    server = Program(
        ["bash", "-c", script],
        log=tmp_path / "log",
        is_ready=lambda: _fetch_metadata(port) is not None,
        environment=activated_environment(),
        cwd=tmp_path,
    )
    try:
        metadata = _fetch_metadata(port)
        assert metadata is not None
        assert metadata["issuer"] == f"https://127.0.0.1:{port}"
        assert "Ready to serve" in server.log
        assert not list(tmp_path.glob("**/*.db"))  # all data is in PostgreSQL and Redis
    finally:
        server.kill()


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The app of a program in README or docs/, with a new data directory."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(request.param, "README.md", "exec"), names)
    app = names["app"] if "app" in names else names["create_app"]()
    yield app
    app.extensions["valetkey"].close()


@pytest.mark.parametrize("program", ROUTES, indirect=True, ids=["routes"])
def test_the_routes_of_the_example_are_protected_as_described(program: Flask) -> None:
    def status(method: str, path: str, **options: Any) -> int:
        return program.test_client().open(path, method=method, **options).status_code

    assert [status("GET", f"/api/{name}") for name in ("notes", "export", "me")] == [401] * 3
    assert status("DELETE", "/api/notes/1") == 401
    assert [status("GET", f"/api/{name}") for name in ("hello", "status")] == [200] * 2
    assert status("GET", "/api/hello", headers={"Authorization": "Bearer made-up"}) == 401

    for scope, statuses in {"notes:read": (200, 403, 200, 403), "notes:read notes:write": (200, 200, 200, 204)}.items():
        header = {"Authorization": f"Bearer {_issue_token(program, scope)}"}
        paths = ("GET", "/api/notes"), ("GET", "/api/export"), ("GET", "/api/me"), ("DELETE", "/api/notes/1")
        assert tuple(status(method, path, headers=header) for method, path in paths) == statuses
    export = program.test_client().get("/api/export", headers=header)
    assert export.status_code == 429  # a burst of two, each call counts as two


@pytest.mark.parametrize("program", FOR_USERS, indirect=True, ids=["for users"])
def test_the_route_that_needs_a_user_refuses_a_service(program: Flask) -> None:
    header = {"Authorization": f"Bearer {_issue_token(program, 'notes:read')}"}

    response = program.test_client().get("/api/notes", headers=header)

    assert (response.status_code, response.json["detail"]) == (403, "this route needs a user")


@pytest.mark.parametrize("program", USERS, indirect=True, ids=["users"])
def test_users_of_the_host_are_redirected_to_the_hosts_sign_in(program: Flask) -> None:
    assert program.test_client().get("/account").location == "/login?next=%2Faccount"


@pytest.mark.parametrize("program", OTHERS, indirect=True, ids=["others"])
def test_the_metadata_of_a_resource_server_lists_its_trusted_issuers(program: Flask) -> None:
    metadata = program.test_client().get("/.well-known/oauth-protected-resource").json

    assert metadata is not None
    assert len(metadata["authorization_servers"]) == 2
    assert program.test_client().get("/api/notes").status_code == 401


def _issue_token(app: Flask, scope: str) -> str:
    """Register a machine client and return an access token with this scope."""
    runtime = app.extensions["valetkey"]
    runtime.get_ready()
    client = register_client(runtime, runtime.clock(), name=f"Robot for {scope}", policy="machine", scope=scope)
    assert client.secret is not None
    form = {"grant_type": "client_credentials", "scope": scope}
    response = app.test_client().post("/oauth/token", data=form, auth=(client.client_id, client.secret.reveal()))
    return str(response.json["access_token"]) if response.json else response.text


def _run(checkout: Checkout, script: str, more_environment: dict[str, str]) -> str:
    """Run a script in the checkout, with the checkout's port instead of 8000, and return its output."""
    process = subprocess.run(
        ["bash", "-ec", script.replace("8000", str(checkout.port))],
        cwd=checkout.folder,
        env=activated_environment() | more_environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def _fetch_metadata(port: int) -> dict[str, Any] | None:
    """Return the metadata of the server on this port, or ``None`` if it does not respond."""
    try:
        response = httpx.get(f"https://127.0.0.1:{port}/.well-known/oauth-authorization-server", verify=False)
    except httpx.TransportError:
        return None
    return dict(response.json()) if response.is_success else None
