"""``examples/resource_server``, with tokens of a Valetkey server in another process."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

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
