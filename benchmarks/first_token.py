"""How long a server takes from its start to the first token."""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx

from benchmarks.servers import Client
from benchmarks.testbed import Testbed, free_port
from tests.support.valetkey_server import Deployment


def first_token(testbed: Testbed, deployment: Deployment, client: Client) -> float:
    """Start a server and return the seconds until a client has its first token, with client credentials."""
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

        started_at = time.perf_counter()
        testbed.start(running, command, has_token, environment=deployment.environment, cores=testbed.both_cores)
        return time.perf_counter() - started_at
