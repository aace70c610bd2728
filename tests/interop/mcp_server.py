"""``examples/mcp_server``, run as its README says, with its own Valetkey server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.program import Program, free_port
from tests.support.valetkey_server import Deployment, RunningServer

SERVER_FILE = Path(__file__).parents[2] / "examples" / "mcp_server" / "server.py"
SCOPES = {"notes:read": "Read your notes", "notes:write": "Add to your notes"}


@dataclass(frozen=True)
class NotesServer:
    """The URL of the MCP server, and its authorization server."""

    url: str
    issuer: str
    deployment: Deployment


@contextmanager
def run_notes_server(folder: Path, email: str, password: str, **settings: Any) -> Iterator[NotesServer]:
    """Run the MCP server and Valetkey; a user with this e-mail address and password has an account."""
    url = f"http://127.0.0.1:{free_port()}/mcp"
    deployment = Deployment(folder, settings={"scopes": json.dumps(SCOPES), **settings})
    deployment.run("init")
    deployment.create_user(email, password)
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    deployment.run("resources", "create", url, "--name", "Notes", *scopes)
    with RunningServer(deployment) as valetkey:
        server = Program(
            [sys.executable, str(SERVER_FILE)],
            log=folder / "mcp.log",
            is_ready=lambda: _is_ready(url),
            environment={**deployment.environment, "MCP_URL": url},
        )
        try:
            yield NotesServer(url, valetkey.issuer, deployment)
        finally:
            server.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.post(url, timeout=5).status_code == httpx.codes.UNAUTHORIZED
    except httpx.TransportError:
        return False
