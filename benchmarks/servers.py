"""The servers that are measured: Valetkey, other authorization servers, a plain Flask app."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.installation import NODE, PEER_SOURCES, PYTHON
from benchmarks.testbed import Testbed, free_port, peer_environment
from tests.support.program import Program, accepts_connections
from tests.support.valetkey_server import Deployment

MACHINES, APPS = 16, 8
APP = Path(__file__).parent / "app.py"
REDIRECT_URI = "https://app.example/callback"
GRANIAN = ["-m", "granian", "--interface", "wsgi", "--no-ws"]


@dataclass(frozen=True)
class Client:
    """An OAuth client that is registered at a server."""

    client_id: str
    client_secret: str
    redirect_uri: str = REDIRECT_URI


@dataclass
class Server:
    """A running server.

    :ivar machines: clients that use client credentials.
    :ivar apps: clients that users sign in to.
    :ivar endpoints: URLs of the OAuth endpoints, by their names in the metadata.
    """

    name: str
    url: str
    program: Program
    machines: list[Client] = field(default_factory=list)
    apps: list[Client] = field(default_factory=list)
    endpoints: dict[str, str] = field(default_factory=dict)


DeploymentWithClients = tuple[Deployment, list[Client], list[Client]]  # with its machines and its apps


def create_deployment(
    testbed: Testbed,
    *,
    app: Path | None = None,
    database_url: str | None = None,
    redis_url: str | None = None,
    opaque: bool = False,
) -> DeploymentWithClients:
    """Create the database of a Valetkey server, with clients. Its limits allow what no user does."""
    settings = {
        "sign_up_limit": "1000/hour burst 1000",
        "silent_authorization_limit": "60000/minute burst 60000",  # 96 users authorize apps all the time
    }
    if redis_url:
        settings["redis_url"] = redis_url
    if database_url:
        settings["database_url"] = database_url
    deployment = Deployment(testbed.folder(), app=app, settings=settings)
    deployment.run("init")
    if opaque:
        deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")

    def create(number: int) -> Client:
        if number < MACHINES:
            created = deployment.create_client("machine", name=f"Machine {number}")
        else:
            uris = [REDIRECT_URI]
            created = deployment.create_client("web", name=f"App {number}", scope="openid profile", redirect_uris=uris)
        return Client(created["client_id"], created["client_secret"])

    with ThreadPoolExecutor(2) as pool:
        clients = list(pool.map(create, range(MACHINES + APPS)))
    return deployment, clients[:MACHINES], clients[MACHINES:]


def valetkey(
    testbed: Testbed,
    running: ExitStack,
    deployment_with_clients: DeploymentWithClients,
    *,
    workers: int = 1,
    cores: str | None = None,
    preload: Path | None = None,
) -> Server:
    """Start ``valetkey serve`` with its defaults; a second server of a deployment gets another port.

    :param preload: a library for ``LD_PRELOAD``.
    """
    deployment, machines, apps = deployment_with_clients
    port = free_port() if accepts_connections(deployment.port) else deployment.port
    command = deployment.command("serve", "--port", str(port), "--workers", str(workers))
    url = f"http://127.0.0.1:{port}"
    environment = deployment.environment | ({"LD_PRELOAD": str(preload)} if preload else {})
    program = testbed.start(running, command, lambda: _has_metadata(url), environment=environment, cores=cores)
    metadata = httpx.get(f"{url}/.well-known/oauth-authorization-server").json()
    endpoints = {
        name: value.replace(deployment.issuer, url) for name, value in metadata.items() if name.endswith("_endpoint")
    }
    return Server("valetkey", url, program, machines, apps, endpoints)


def create_tokens_of_people(deployment: Deployment, kind: str) -> list[str]:
    """Create the users of ``people.py`` in a deployment of ``app.py``. Return a token of each.

    :param kind: ``access`` or ``personal``.
    """
    root = Path(__file__).parents[1]
    created = subprocess.run(
        [sys.executable, "-m", "benchmarks.people", kind],
        env={**deployment.environment, "PYTHONPATH": f"{root}:{root / 'src'}"},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    tokens: list[str] = json.loads(created.stdout)
    return tokens


def node_provider(testbed: Testbed, running: ExitStack, *, jwt: bool) -> Server:
    """Start node-oidc-provider, which stores everything in memory.

    :param jwt: whether access tokens are ES256 JWTs; otherwise they are opaque, which is its default.
    """
    port, clients = free_port(), _generate_clients(MACHINES + APPS)
    program = testbed.start(
        running,
        ["node", str(NODE / "node_provider.mjs")],
        lambda: accepts_connections(port),
        environment=peer_environment(
            port=port, clients=[vars(client) for client in clients], format="jwt" if jwt else "opaque"
        ),
    )
    url = f"http://127.0.0.1:{port}"
    metadata = httpx.get(f"{url}/.well-known/openid-configuration").raise_for_status().json()
    name = f"node-oidc-provider, {'JWT' if jwt else 'opaque'}"
    return Server(name, url, program, clients[:MACHINES], clients[MACHINES:], metadata)


def resource_server(testbed: Testbed, running: ExitStack) -> Server:
    """Start an API with ``ResourceServer`` that accepts JWTs of a node-oidc-provider, which has the clients."""
    issuer, port = node_provider(testbed, running, jwt=True), free_port()
    root = Path(__file__).parents[1]
    program = testbed.start(
        running,
        [sys.executable, *GRANIAN, "--host", "127.0.0.1", "--port", str(port), "benchmarks.remote_app:app"],
        lambda: accepts_connections(port),
        environment={**os.environ, "ISSUER": issuer.url, "PYTHONPATH": f"{root}:{root / 'src'}"},
    )
    return Server("valetkey", f"http://127.0.0.1:{port}", program, issuer.machines, [], issuer.endpoints)


def toolkit(testbed: Testbed, running: ExitStack, database_url: str | None = None) -> Server:
    """Start django-oauth-toolkit on its own database.

    Client secrets are stored as plain text: with hashed ones it issues 3 tokens per second.
    """
    url = database_url or f"sqlite://{testbed.folder() / 'toolkit.sqlite3'}"
    clients = _generate_clients(MACHINES)
    environment = peer_environment(database_url=url, clients=[vars(client) for client in clients])
    subprocess.run([PYTHON, PEER_SOURCES / "toolkit.py"], env=environment, check=True, cwd=testbed.folder())
    server = _start_granian(testbed, running, "django-oauth-toolkit", "toolkit:application", environment, threads=2)
    server.machines = clients
    server.endpoints = {"token_endpoint": f"{server.url}/oauth/token/"}
    if not database_url:
        _check_durable(url)
    return server


def authlib(testbed: Testbed, running: ExitStack) -> Server:
    """Start an Authlib server that stores nothing and signs ES256."""
    port, clients = free_port(), _generate_clients(MACHINES)
    environment = peer_environment(port=port, clients=[vars(client) for client in clients])
    server = _start_granian(testbed, running, "Authlib", "authlib_server:app", environment, port)
    server.machines = clients
    server.endpoints = {"token_endpoint": f"{server.url}/token"}
    return server


def plain_flask(
    testbed: Testbed, running: ExitStack, *, threads: int = 1, workers: int = 1, cores: str | None = None
) -> Server:
    """Start a plain Flask app."""
    app, environment = "benchmarks.plain_flask_app:app", dict(os.environ)
    return _start_granian(
        testbed, running, "Flask alone", app, environment, threads=threads, workers=workers, cores=cores
    )


def _start_granian(
    testbed: Testbed,
    running: ExitStack,
    name: str,
    app: str,
    environment: dict[str, str],
    port: int | None = None,
    threads: int = 1,
    workers: int = 1,
    cores: str | None = None,
) -> Server:
    """Start a WSGI app with Granian, in the Python environment of the other servers."""
    port = port or free_port()
    paths = f"{PEER_SOURCES}:{PEER_SOURCES.parents[1]}"
    command = [str(PYTHON), *GRANIAN, "--host", "127.0.0.1", "--port", str(port)]
    program = testbed.start(
        running,
        [*command, "--blocking-threads", str(threads), "--workers", str(workers), app],
        lambda: accepts_connections(port),
        environment={**environment, "PYTHONPATH": paths},
        cores=cores,
    )
    return Server(name, f"http://127.0.0.1:{port}", program)


def _generate_clients(count: int) -> list[Client]:
    return [Client(f"client-{number}", secrets.token_urlsafe(32)) for number in range(count)]


def _has_metadata(url: str) -> bool:
    try:
        return httpx.get(f"{url}/.well-known/oauth-authorization-server").is_success
    except httpx.TransportError:
        return False


def _check_durable(url: str) -> None:
    """Check that the SQLite database is in WAL mode, like Valetkey's: otherwise the comparison would not be fair."""
    with sqlite3.connect(url.removeprefix("sqlite://")) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise AssertionError(f"django-oauth-toolkit's SQLite is in mode {mode}")
