"""The servers that are measured, each started alone on its core: ours, the peers, a plain Flask app."""

from __future__ import annotations

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

from benchmarks.installation import NODE, PYTHON, RECIPES
from benchmarks.place import Place, configuration, free_port
from tests.support.program import Program, accepts_connections
from tests.support.valetkey_server import Deployment

MACHINES, APPS = 16, 8
REDIRECT_URI = "https://app.example/callback"
GRANIAN = ["-m", "granian", "--interface", "wsgi", "--workers", "1", "--no-ws"]


@dataclass(frozen=True)
class Client:
    client_id: str
    client_secret: str
    redirect_uri: str = REDIRECT_URI


@dataclass
class Server:
    """A running server and who may call it: ``machines`` for themselves, ``apps`` for people."""

    name: str
    url: str
    program: Program
    machines: list[Client] = field(default_factory=list)
    apps: list[Client] = field(default_factory=list)
    endpoints: dict[str, str] = field(default_factory=dict)


Made = tuple[Deployment, list[Client], list[Client]]  # with its machines and its apps


def new_deployment(
    place: Place, *, app: Path | None = None, database_url: str | None = None, opaque: bool = False
) -> Made:
    """Initialise a Valetkey with its clients; many people may sign up from this one address."""
    settings = {"sign_up_limit": "1000/hour burst 1000"}
    if database_url:
        settings["database_url"] = database_url
    deployment = Deployment(place.folder(), app=app, settings=settings)
    deployment.run("init")
    if opaque:
        deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")

    def create(number: int) -> Client:
        if number < MACHINES:
            made = deployment.create_client("machine", name=f"Machine {number}")
        else:
            uris = [REDIRECT_URI]
            made = deployment.create_client("web", name=f"App {number}", scope="openid profile", redirect_uris=uris)
        return Client(made["client_id"], made["client_secret"])

    with ThreadPoolExecutor(2) as two:
        clients = list(two.map(create, range(MACHINES + APPS)))
    return deployment, clients[:MACHINES], clients[MACHINES:]


def valetkey(
    place: Place,
    running: ExitStack,
    made: Made,
    *,
    workers: int = 1,
    cores: str | None = None,
) -> Server:
    """Start ``valetkey serve`` as it is by default; a second one of a deployment gets a port of its own."""
    deployment, machines, apps = made
    port = free_port() if accepts_connections(deployment.port) else deployment.port
    command = deployment.command("serve", "--port", str(port), "--workers", str(workers))
    url = f"http://127.0.0.1:{port}"
    program = place.start(running, command, lambda: _answers(url), environment=deployment.environment, cores=cores)
    found = httpx.get(f"{url}/.well-known/oauth-authorization-server").json()
    endpoints = {name: found[name].replace(deployment.issuer, url) for name in found if name.endswith("_endpoint")}
    return Server("valetkey", url, program, machines, apps, endpoints)


def node_provider(place: Place, running: ExitStack, *, jwt: bool) -> Server:
    """Start node-oidc-provider in memory; access tokens are ES256 JWTs, or opaque as it does by default."""
    port, clients = free_port(), _clients(MACHINES + APPS)
    program = place.start(
        running,
        ["node", str(NODE / "node_provider.mjs")],
        lambda: accepts_connections(port),
        environment=configuration(port=port, clients=[vars(one) for one in clients], format="jwt" if jwt else "opaque"),
    )
    url = f"http://127.0.0.1:{port}"
    found = httpx.get(f"{url}/.well-known/openid-configuration").raise_for_status().json()
    name = f"node-oidc-provider, {'JWT' if jwt else 'opaque'}"
    return Server(name, url, program, clients[:MACHINES], clients[MACHINES:], found)


def resource_server(place: Place, running: ExitStack) -> Server:
    """Start an API alone, for the JWTs of node-oidc-provider, which has the clients."""
    issuer, port = node_provider(place, running, jwt=True), free_port()
    root = Path(__file__).parents[1]
    program = place.start(
        running,
        [sys.executable, *GRANIAN, "--host", "127.0.0.1", "--port", str(port), "benchmarks.remote_app:app"],
        lambda: accepts_connections(port),
        environment={**os.environ, "ISSUER": issuer.url, "PYTHONPATH": f"{root}:{root / 'src'}"},
    )
    return Server("valetkey", f"http://127.0.0.1:{port}", program, issuer.machines, [], issuer.endpoints)


def toolkit(place: Place, running: ExitStack, database_url: str | None = None) -> Server:
    """Start django-oauth-toolkit on a database of its own; clear secrets, else it does 3 a second."""
    url = database_url or f"sqlite://{place.folder() / 'toolkit.sqlite3'}"
    clients = _clients(MACHINES)
    environment = configuration(database_url=url, clients=[vars(one) for one in clients])
    subprocess.run([PYTHON, RECIPES / "toolkit.py"], env=environment, check=True, cwd=place.folder())
    server = _granian(place, running, "django-oauth-toolkit", "toolkit:application", environment, threads=2)
    server.machines = clients
    server.endpoints = {"token_endpoint": f"{server.url}/oauth/token/"}
    if not database_url:
        _check_durable(url)
    return server


def authlib(place: Place, running: ExitStack) -> Server:
    """Start an Authlib server that stores nothing and signs ES256."""
    port, clients = free_port(), _clients(MACHINES)
    environment = configuration(port=port, clients=[vars(one) for one in clients])
    server = _granian(place, running, "Authlib", "authlib_server:app", environment, port)
    server.machines = clients
    server.endpoints = {"token_endpoint": f"{server.url}/token"}
    return server


def flask_floor(place: Place, running: ExitStack) -> Server:
    """Start a plain Flask app."""
    return _granian(place, running, "Flask alone", "benchmarks.floor:app", dict(os.environ))


def _granian(
    place: Place,
    running: ExitStack,
    name: str,
    app: str,
    environment: dict[str, str],
    port: int | None = None,
    threads: int = 1,
) -> Server:
    port = port or free_port()
    paths = f"{RECIPES}:{RECIPES.parents[1]}"
    command = [str(PYTHON), *GRANIAN, "--host", "127.0.0.1", "--port", str(port)]
    program = place.start(
        running,
        [*command, "--blocking-threads", str(threads), app],
        lambda: accepts_connections(port),
        environment={**environment, "PYTHONPATH": paths},
    )
    return Server(name, f"http://127.0.0.1:{port}", program)


def _clients(how_many: int) -> list[Client]:
    return [Client(f"client-{number}", secrets.token_urlsafe(32)) for number in range(how_many)]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/.well-known/oauth-authorization-server").is_success
    except httpx.TransportError:
        return False


def _check_durable(url: str) -> None:
    """The peer's SQLite must write ahead as ours does, or the comparison is none."""
    with sqlite3.connect(url.removeprefix("sqlite://")) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise AssertionError(f"django-oauth-toolkit's SQLite is in mode {mode}")
