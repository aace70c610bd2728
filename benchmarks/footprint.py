"""What a server takes before and beside its answers: memory, and the time until the first."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.place import Place, free_port
from benchmarks.servers import Client
from tests.services.valetkey_server import Deployment


def worker_memory(pid: int) -> float:
    """Answer the resident memory, in MB, of the largest process that this one started."""
    return max(map(_resident, _descendants(pid) or [pid])) / 1e6


def first_token(place: Place, deployment: Deployment, client: Client) -> float:
    """Start the server and answer the seconds until a machine has its first token."""
    body = {"grant_type": "client_credentials", "scope": "profile"}
    port = free_port()
    url = f"http://127.0.0.1:{port}/oauth/token"
    command = deployment.command("serve", "--port", str(port))
    with ExitStack() as running, httpx.Client(auth=(client.client_id, client.client_secret)) as http:

        def has_token() -> bool:
            try:
                return "access_token" in http.post(url, data=body).json()
            except (httpx.TransportError, ValueError):
                return False

        begun = time.perf_counter()
        place.start(running, command, has_token, environment=deployment.environment, cores=place.both)
        return time.perf_counter() - begun


def _descendants(pid: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [deeper for child in children for deeper in _descendants(child)]


def _resident(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status.get("VmRSS", "0 kB").split()[0]) * 1024
