"""The OAuth endpoints as most publishers run them: in a Flask app, with extensions, on PostgreSQL, on a slow disk."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers, users, workloads
from benchmarks.contender import Contender, Row, Target, rate, run_load
from benchmarks.servers import APP, Server
from benchmarks.testbed import Testbed
from benchmarks.users import User

APP_WITH_EXTENSIONS = APP.with_name("app_with_extensions.py")
IN_APP, WITH_EXTENSIONS, ON_POSTGRESQL = "in an app", "in an app with extensions", "in an app, PostgreSQL"
SLOW_DISK, SAME_DISK = "in an app, fsync of 5 ms", "in an app, this disk"
NODE_JWT, NODE_OPAQUE = "node-oidc-provider, JWT", "node-oidc-provider, opaque"


def tokens_in_app(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P2a: client credentials, JWT access tokens."""
    return [
        rate(testbed, name, workloads.client_credentials(server, workloads.JWT))
        for name, server in _apps_and_node(testbed, running, jwt=True)
    ]


def introspection_in_app(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P4a: introspection of JWTs, and of node-oidc-provider's opaque tokens: it does not introspect JWTs."""
    return [
        rate(testbed, name, workloads.introspection(server))
        for name, server in _apps_and_node(testbed, running, jwt=False)
    ]


def refresh_in_app(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P5a: refresh with rotation."""
    return [_rotation(testbed, *each) for each in _servers_with_users(testbed, running)]


def code_flow_in_app(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P6a: authorization request and code exchange with PKCE."""
    return [
        rate(testbed, name, workloads.code_flow(server, signed_in))
        for name, server, signed_in in _servers_with_users(testbed, running)
    ]


def slow_disk(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P5s: refreshes and code flows if fsync and fdatasync take 5 ms, and if they take what they take."""
    contenders = []
    for name, preload in ((SLOW_DISK, _compile_slow_fsync(testbed)), (SAME_DISK, None)):
        server = servers.valetkey(testbed, running, servers.create_deployment(testbed, app=APP), preload=preload)
        signed_in = users.sign_in(server, users.sign_up_function(server))
        contenders += [
            _rotation(testbed, f"{name}, refresh", server, signed_in),
            rate(testbed, f"{name}, code flow", workloads.code_flow(server, signed_in)),
        ]
    return contenders


def _apps_and_node(testbed: Testbed, running: ExitStack, *, jwt: bool) -> list[tuple[str, Server]]:
    node = servers.node_provider(testbed, running, jwt=jwt)
    return [(name, _start(testbed, running, name)) for name in (IN_APP, WITH_EXTENSIONS)] + [(node.name, node)]


def _servers_with_users(testbed: Testbed, running: ExitStack) -> list[tuple[str, Server, list[User]]]:
    """Start an app on SQLite, one on PostgreSQL, and node-oidc-provider, each with signed-in users."""
    node = servers.node_provider(testbed, running, jwt=True)
    started: list[tuple[str, Server, list[User]]] = []
    for name in (IN_APP, ON_POSTGRESQL):
        server = _start(testbed, running, name)
        signed_in = testbed.once(f"users {name}", lambda at=server: users.sign_in(at, users.sign_up_function(at)))
        for user in signed_in:
            user.server = server  # each row starts a new server, perhaps on another port
        started.append((name, server, signed_in))
    return [*started, (node.name, node, users.sign_in(node, users.no_sign_up))]


def _start(testbed: Testbed, running: ExitStack, name: str) -> Server:
    """Start one of our servers. Those with the same name share one database."""
    return servers.valetkey(testbed, running, testbed.once(name, lambda: _create_deployment(testbed, name)))


def _create_deployment(testbed: Testbed, name: str) -> servers.DeploymentWithClients:
    app = APP_WITH_EXTENSIONS if name == WITH_EXTENSIONS else APP
    database_url = testbed.postgresql().create_database() if name == ON_POSTGRESQL else None
    return servers.create_deployment(testbed, app=app, database_url=database_url)


def _rotation(testbed: Testbed, name: str, server: Server, signed_in: list[User]) -> Contender:
    """Return a contender for refresh with rotation; each round begins with new refresh tokens."""
    return Contender(name, lambda seconds: run_load(testbed, workloads.rotation(server, signed_in), seconds))


def _compile_slow_fsync(testbed: Testbed) -> Path:
    """Return a library with which fsync and fdatasync take 5 ms longer."""
    library = testbed.folder() / "slow_fsync.so"
    source = Path(__file__).with_name("slow_fsync.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


APP_ROWS: dict[str, Row] = {
    "P2a": tokens_in_app,
    "P4a": introspection_in_app,
    "P5a": refresh_in_app,
    "P6a": code_flow_in_app,
    "P5s": slow_disk,
}
# fmt: off
APP_TARGETS = [
    Target("P2a", "client_credentials, JWT, in an app", IN_APP, NODE_JWT, 2.0, "2.5"),
    Target("P2a", "client_credentials, JWT, Flask-Login and CSRFProtect", WITH_EXTENSIONS, NODE_JWT, 1.2, "1.5"),
    Target("P4a", "introspection, JWT / opaque, in an app", IN_APP, NODE_OPAQUE, 2.5, "4"),
    Target("P4a", "introspection, JWT / opaque, Flask-Login and CSRFProtect", WITH_EXTENSIONS, NODE_OPAQUE,
           1.2, "1.5"),
    Target("P5a", "refresh with rotation, in an app", IN_APP, NODE_JWT, 1.0, "1.5"),
    Target("P5a", "refresh with rotation, in an app, PostgreSQL", ON_POSTGRESQL, NODE_JWT, 0.8, "1.2"),
    Target("P6a", "code + PKCE flow, in an app", IN_APP, NODE_JWT, 0.9, "1.3"),
    Target("P6a", "code + PKCE flow, in an app, PostgreSQL", ON_POSTGRESQL, NODE_JWT, 0.7, "1.0"),
    *(
        Target("P5s", f"{act}, fsync of 5 ms / this disk", f"{SLOW_DISK}, {act}", f"{SAME_DISK}, {act}", 0.7, "0.9")
        for act in ("refresh", "code flow")
    ),
]
# fmt: on
