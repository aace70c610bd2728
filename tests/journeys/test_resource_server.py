"""``examples/resource_server``, with tokens of a Valetkey server in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.support.fixtures import StartServer
from tests.support.program import Program, accepts_connections, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "resource_server" / "app.py"


def test_a_resource_server_accepts_tokens_of_valetkey_even_after_valetkey_stopped(
    start_server: StartServer, tmp_path: Path
) -> None:
    port = free_port()
    api, resource = f"http://127.0.0.1:{port}", "http://127.0.0.1:5000"
    scopes = {"notes:read": "Read your notes", "notes:write": "Write notes"}
    issuer = start_server(resource=resource, scopes=scopes)
    client = issuer.deployment.create_client("machine", scope="notes:read notes:write")
    example = Program(
        [sys.executable, "-m", "flask", "--app", str(EXAMPLE), "run", "--port", str(port)],
        log=tmp_path / "example.log",
        is_ready=lambda: accepts_connections(port),
        environment={**issuer.deployment.environment, "ISSUERS": issuer.issuer, "RESOURCE": resource},
        cwd=tmp_path,
    )
    try:
        token_response = httpx.post(
            issuer.metadata["token_endpoint"],
            data={"grant_type": "client_credentials", "scope": "notes:read notes:write"},
            auth=(client["client_id"], client["client_secret"]),
        ).json()
        caller = httpx.Client(base_url=api, headers={"Authorization": f"Bearer {token_response['access_token']}"})
        metadata = httpx.get(f"{api}/.well-known/oauth-protected-resource").json()

        assert (metadata["resource"], metadata["authorization_servers"]) == (resource, [issuer.issuer])
        assert httpx.get(f"{api}/api/notes").status_code == 401
        assert caller.post("/api/notes", json={"text": "Milk"}).status_code == 201
        issuer.kill()
        response = caller.get("/api/notes")

        assert response.json() == ["Milk"]
        assert "RateLimit" in response.headers
    finally:
        example.kill()


def test_valetkey_serve_serves_a_resource_server_with_reference_and_health_checks(
    start_server: StartServer, tmp_path: Path, page: Page
) -> None:
    port = free_port()
    resource = api = f"http://127.0.0.1:{port}"
    issuer = start_server(resource=resource, scopes={"notes:read": "Read your notes", "notes:write": "Write notes"})
    client = issuer.deployment.create_client("machine", scope="notes:read notes:write")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("VALETKEY_")}
    environment = {**variables, "ISSUERS": issuer.issuer, "RESOURCE": resource}
    command = [sys.executable, "-m", "valetkey", "--app", str(EXAMPLE)]
    server = Program(
        [*command, "serve", "--port", str(port), "--workers", "2"],
        log=tmp_path / "server.log",
        is_ready=lambda: accepts_connections(port),
        environment=environment,
        cwd=tmp_path,
    )
    try:
        token_endpoint = issuer.metadata["token_endpoint"]
        token = httpx.post(
            token_endpoint,
            data={"grant_type": "client_credentials", "scope": "notes:read notes:write"},
            auth=(client["client_id"], client["client_secret"]),
        ).json()["access_token"]

        assert httpx.get(f"{api}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{api}/readyz").json()["checks"] == {"startup": "ok", "issuers": "ok", "counters": "ok"}
        document = httpx.get(f"{api}/openapi.json").json()
        flows = document["components"]["securitySchemes"]["oauth2"]["flows"]
        assert flows["authorizationCode"]["tokenUrl"] == flows["clientCredentials"]["tokenUrl"] == token_endpoint
        assert httpx.get(f"{api}/api/notes").status_code == 401
        assert f"Docs:     {api}/docs" in server.log

        page.goto(f"{api}/docs")
        page.get_by_label("Access token of").fill(token)
        page.click("#use-token")
        call = page.locator("#op-read-try")
        call.get_by_role("button").click()
        expect(call.locator(".result .status")).to_have_text("200")

        written = subprocess.run(
            [*command, "openapi"], env=environment, cwd=tmp_path, capture_output=True, check=True, timeout=60
        )
        assert json.loads(written.stdout)["components"] == document["components"]
        demo = subprocess.run(
            [*command, "serve", "--demo"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert demo.returncode == 2 and "--demo needs an app with a Valetkey" in demo.stderr
        assert server.stop() == 0
    finally:
        server.kill()
