"""How long a server takes until its first answer."""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx

from benchmarks.place import Place, free_port
from benchmarks.servers import Client
from tests.support.valetkey_server import Deployment


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
