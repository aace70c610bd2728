"""The rows of the benchmark: the contenders of each, and the target of each ratio."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import servers, users, workloads
from benchmarks.app_rows import APP_ROWS, APP_TARGETS, NODE_JWT, NODE_OPAQUE
from benchmarks.background_sign_ins import sign_in_continuously
from benchmarks.contender import Contender, Row, Target, rate, run_load
from benchmarks.first_token import first_token
from benchmarks.large_store import fill_store
from benchmarks.load import Load
from benchmarks.people_rows import PEOPLE_ROWS, PEOPLE_TARGETS
from benchmarks.processes import largest_descendant_mb
from benchmarks.servers import APP, Server
from benchmarks.testbed import Testbed
from benchmarks.users import User
from valetkey.cli.serve import DEFAULT_THREADS

PROTECTED, PUBLIC, WAITING = "/api/protected", "/api/public", "/api/waiting"
DISCOVERY = "/.well-known/openid-configuration"
SIGN_IN_ACCOUNTS = 20


def protected_route(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P1: a protected route with scope and limit, and the public route of the same app."""
    ours = _app(testbed, running)
    authlib, toolkit = servers.authlib(testbed, running), servers.toolkit(testbed, running)
    return [
        rate(testbed, "valetkey, protected", workloads.call(ours, PROTECTED)),
        rate(testbed, "valetkey, public", workloads.get_public(ours, PUBLIC)),
        rate(testbed, "Flask alone", workloads.get_public(servers.plain_flask(testbed, running), PUBLIC)),
        rate(testbed, "Authlib, protected", workloads.call(authlib, "/protected")),
        rate(testbed, "django-oauth-toolkit, protected", workloads.call(toolkit, "/protected")),
        rate(testbed, "django-oauth-toolkit, public", workloads.get_public(toolkit, "/public")),
    ]


def remote_tokens(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """R1: a protected route of a resource server, with JWTs of another server."""
    ours = servers.resource_server(testbed, running)
    return [
        rate(testbed, "valetkey, tokens of another server", workloads.call(ours, PROTECTED)),
        rate(testbed, "valetkey alone, public", workloads.get_public(ours, PUBLIC)),
    ]


def jwt_tokens(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P2: client credentials, JWT access tokens."""
    return [
        rate(testbed, server.name, workloads.client_credentials(server, workloads.JWT))
        for server in (
            _service(testbed, running),
            servers.node_provider(testbed, running, jwt=True),
            servers.authlib(testbed, running),
        )
    ]


def opaque_tokens(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P3: client credentials, opaque access tokens, on SQLite and on PostgreSQL."""
    contenders = []
    postgresql = testbed.postgresql()
    for name, ours, theirs in (
        ("SQLite", None, None),
        ("PostgreSQL", postgresql.create_database(), postgresql.create_database()),
    ):
        deployment = servers.create_deployment(testbed, database_url=ours, opaque=True)
        for server in (
            servers.valetkey(testbed, running, deployment),
            servers.toolkit(testbed, running, theirs),
        ):
            load = workloads.client_credentials(server, workloads.OPAQUE)
            contenders.append(rate(testbed, f"{server.name}, {name}", load))
    return contenders


def introspection(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P4: introspection of opaque tokens and of JWTs."""
    opaque = servers.valetkey(testbed, running, servers.create_deployment(testbed, opaque=True))
    node = servers.node_provider(testbed, running, jwt=False)
    return [
        rate(testbed, "valetkey, opaque", workloads.introspection(opaque)),
        rate(testbed, "valetkey, JWT", workloads.introspection(_service(testbed, running))),
        rate(testbed, node.name, workloads.introspection(node)),
    ]


def refresh(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P5: refresh with rotation."""
    return [
        _rotation_rate(testbed, server.name, server, signed_in)
        for server, signed_in in _servers_with_users(testbed, running)
    ]


def code_flow(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P6: authorization request and code exchange with PKCE."""
    return [
        rate(testbed, server.name, workloads.code_flow(server, signed_in))
        for server, signed_in in _servers_with_users(testbed, running)
    ]


def two_workers(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P7: how many times faster two workers are than one, on both cores; the same for Flask alone."""
    cores = testbed.both_cores

    def speedup(name: str, load: Callable[[int], Load]) -> Contender:
        two, one = load(2), load(1)
        return Contender(
            name, lambda seconds: two.run(seconds, cores).per_second / one.run(seconds, cores).per_second, ""
        )

    def flask(workers: int) -> Server:
        return servers.plain_flask(testbed, running, threads=DEFAULT_THREADS, workers=workers, cores=cores)

    def app(workers: int) -> Server:
        return _app(testbed, running, workers=workers, cores=cores)

    def service(workers: int) -> Server:
        return _service(testbed, running, workers=workers, cores=cores)

    return [
        speedup("valetkey, protected route, 2 workers / 1", lambda workers: workloads.call(app(workers), PROTECTED)),
        speedup(
            "valetkey, tokens, 2 workers / 1",
            lambda workers: workloads.client_credentials(service(workers), workloads.JWT),
        ),
        speedup("Flask alone, 2 workers / 1", lambda workers: workloads.get_public(flask(workers), PUBLIC)),
    ]


def footprint(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P9: memory of the largest worker after many code flows, and the time from start to first token."""
    server = _service(testbed, running)
    flows = workloads.code_flow(server, _sign_in_users(testbed, server))

    def memory_mb(seconds: float) -> float:
        run_load(testbed, flows, seconds)
        return largest_descendant_mb(server.program.pid)

    deployment, machines, _ = _service_deployment(testbed)
    return [
        Contender("valetkey, memory of a worker", memory_mb, "MB"),
        Contender("valetkey, first token", lambda _: first_token(testbed, deployment, machines[0]), "s"),
    ]


def sign_ins(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P10: latency of a protected route while users sign in with passwords, and without them; of a public route.

    The public route is that of an app with Valetkey, and of Flask alone with as many threads. Flask alone is measured
    while it checks as many passwords, too: what a hash of the same cost does to any server with one core.
    """
    server = _app(testbed, running)
    flask = servers.plain_flask(testbed, running, threads=DEFAULT_THREADS)
    load, public = workloads.call(server, PROTECTED), workloads.get_public(server, PUBLIC)
    flask_public = workloads.get_public(flask, PUBLIC)
    waiting = replace(workloads.get_public(server, WAITING), connections=8)
    users.create_accounts(server, SIGN_IN_ACCOUNTS)

    def p99_ms(measured: Load, seconds: float) -> float:
        return measured.run(seconds, str(testbed.cores[1])).p99_ms

    def p99_ms_during_sign_ins(seconds: float) -> float:
        with sign_in_continuously(users.sign_in_once, server, SIGN_IN_ACCOUNTS, core=testbed.cores[1]):
            return p99_ms(load, seconds)

    def p99_ms_of_flask_during_sign_ins(seconds: float) -> float:
        with sign_in_continuously(users.sign_in_at_plain_flask, flask, SIGN_IN_ACCOUNTS, core=testbed.cores[1]):
            return p99_ms(flask_public, seconds)

    def p99_ms_beside_waiting_views(seconds: float) -> float:
        with ThreadPoolExecutor(1) as pool:
            background = pool.submit(waiting.run, seconds, str(testbed.cores[1]))
            measured = p99_ms(public, seconds)
            background.result()  # raises an error if one of the responses was wrong
            return measured

    return [
        Contender("valetkey, p99 while users sign in", p99_ms_during_sign_ins, "ms"),
        Contender("valetkey, p99", partial(p99_ms, load), "ms"),
        Contender("valetkey, public, p99", partial(p99_ms, public), "ms"),
        Contender("Flask alone, public, p99", partial(p99_ms, flask_public), "ms"),
        Contender("Flask alone, public, p99 while users sign in", p99_ms_of_flask_during_sign_ins, "ms"),
        Contender("valetkey, public, p99 beside views that wait 50 ms", p99_ms_beside_waiting_views, "ms"),
    ]


def documents(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P11: discovery and the JWK set, and the public route of the same app."""
    ours = _app(testbed, running)
    return [
        rate(testbed, "valetkey, discovery", workloads.get_document(ours, DISCOVERY, '"issuer"')),
        rate(testbed, "valetkey, JWKS", workloads.get_document(ours, "/oauth/jwks", '"keys"')),
        rate(testbed, "valetkey, public", workloads.get_public(ours, PUBLIC)),
        rate(testbed, "Flask alone", workloads.get_public(servers.plain_flask(testbed, running), PUBLIC)),
    ]


def userinfo(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P12: userinfo, and the protected route of the same app."""
    ours = servers.valetkey(testbed, running, servers.create_deployment(testbed, app=APP))
    signed_in = users.sign_in(ours, users.sign_up_function(ours), scope="openid profile")
    return [
        rate(testbed, "valetkey, userinfo", workloads.userinfo(ours, signed_in)),
        rate(testbed, "valetkey, protected", workloads.call(ours, PROTECTED)),
    ]


def large_store(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P8: the same operations on a database with millions of rows, and on one with few."""
    contenders = []
    for name in ("large", "small"):
        deployment = servers.create_deployment(testbed, app=APP, opaque=True)
        if name == "large":
            fill_store(next(Path(deployment[0].data_dir).glob("*.db")), now=time.time())
        server = servers.valetkey(testbed, running, deployment)
        signed_in = users.sign_in(server, users.sign_up_function(server))
        contenders += [
            rate(testbed, f"{name}, tokens for machines", workloads.client_credentials(server, workloads.OPAQUE)),
            rate(testbed, f"{name}, protected route", workloads.call(server, PROTECTED)),
            rate(testbed, f"{name}, introspection", workloads.introspection(server)),
            _rotation_rate(testbed, f"{name}, refresh", server, signed_in),
            rate(testbed, f"{name}, code flow", workloads.code_flow(server, signed_in)),
        ]
    return contenders


ROWS: dict[str, Row] = {
    "P1": protected_route,
    **PEOPLE_ROWS,
    **APP_ROWS,
    "P2": jwt_tokens,
    "P3": opaque_tokens,
    "P4": introspection,
    "P5": refresh,
    "P6": code_flow,
    "P7": two_workers,
    "P8": large_store,
    "P9": footprint,
    "P10": sign_ins,
    "P11": documents,
    "P12": userinfo,
    "R1": remote_tokens,
}
DEFAULT_ROWS = [row for row in ROWS if row != "P8"]  # filling the database of P8, 5 GB, takes minutes
TOOLKIT = "django-oauth-toolkit"
# fmt: off
TARGETS = [
    Target("P1", "protected route / public route", "valetkey, protected", "valetkey, public", 0.88, "0.93"),
    *PEOPLE_TARGETS,
    *APP_TARGETS,
    Target("P2", "client_credentials, JWT", "valetkey", NODE_JWT, 1.25, "1.5, WSGI 3"),
    Target("P3", "client_credentials, opaque, SQLite", "valetkey, SQLite", f"{TOOLKIT}, SQLite", 6, "10"),
    Target("P3", "client_credentials, opaque, PostgreSQL", "valetkey, PostgreSQL", f"{TOOLKIT}, PostgreSQL",
           6, "10"),
    Target("P4", "introspection, opaque tokens", "valetkey, opaque", NODE_OPAQUE, 1.4, "1.8, WSGI 5"),
    Target("P4", "introspection, JWT / opaque", "valetkey, JWT", NODE_OPAQUE, 1.4, "1.8, WSGI 5"),
    Target("P5", "refresh with rotation", "valetkey", NODE_JWT, 0.9, "1.2"),
    Target("P5", "refresh with rotation, JWT / opaque", "valetkey", NODE_OPAQUE, 0.9, "1.2"),
    Target("P6", "code + PKCE flow", "valetkey", NODE_JWT, 1, "2"),
    Target("P6", "code + PKCE flow, JWT / opaque", "valetkey", NODE_OPAQUE, 1, "2"),
    Target("P7", "2 workers / 1, protected route / Flask alone",
           "valetkey, protected route, 2 workers / 1", "Flask alone, 2 workers / 1", 0.95, "1"),
    Target("P7", "2 workers / 1, client_credentials / Flask alone",
           "valetkey, tokens, 2 workers / 1", "Flask alone, 2 workers / 1", 0.95, "1"),
    *(
        Target("P8", f"{operation}, large store / small", f"large, {operation}", f"small, {operation}", 0.9, "0.97")
        for operation in ("tokens for machines", "protected route", "introspection", "refresh", "code flow")
    ),
    Target("P9", "memory of a worker, MB", "valetkey, memory of a worker", None, 90, "75", True),
    Target("P9", "start to first token, s", "valetkey, first token", None, 0.8, "0.6", True),
    Target("P10", "p99 while users sign in / without",
           "valetkey, p99 while users sign in", "valetkey, p99", 1.5, "1.2", True),
    Target("P10", "p99 of a public route / Flask alone",
           "valetkey, public, p99", "Flask alone, public, p99", 1.5, "1.1", True),
    Target("P11", "discovery / plain JSON route", "valetkey, discovery", "valetkey, public", 0.9, "1"),
    Target("P11", "JWKS / plain JSON route", "valetkey, JWKS", "valetkey, public", 0.9, "1"),
    Target("P12", "userinfo / protected route", "valetkey, userinfo", "valetkey, protected", 0.8, "1"),
    Target("R1", "remote JWT validation, warm / public route",
           "valetkey, tokens of another server", "valetkey alone, public", 0.85, "0.93"),
]
# fmt: on


def _service(testbed: Testbed, running: ExitStack, *, workers: int = 1, cores: str | None = None) -> Server:
    """Start Valetkey without an app. All such servers of a run share one database."""
    return servers.valetkey(testbed, running, _service_deployment(testbed), workers=workers, cores=cores)


def _service_deployment(testbed: Testbed) -> servers.DeploymentWithClients:
    return testbed.once("service", lambda: servers.create_deployment(testbed))


def _app(testbed: Testbed, running: ExitStack, *, workers: int = 1, cores: str | None = None) -> Server:
    """Start Valetkey with ``app.py``. All such servers of a run share one database."""
    deployment = testbed.once("app", lambda: servers.create_deployment(testbed, app=APP))
    return servers.valetkey(testbed, running, deployment, workers=workers, cores=cores)


def _servers_with_users(testbed: Testbed, running: ExitStack) -> list[tuple[Server, list[User]]]:
    """Start Valetkey and node-oidc-provider, each with signed-in users."""
    ours = _service(testbed, running)
    node_providers = [servers.node_provider(testbed, running, jwt=jwt) for jwt in (True, False)]
    return [
        (ours, _sign_in_users(testbed, ours)),
        *((node_provider, users.sign_in(node_provider, users.no_sign_up)) for node_provider in node_providers),
    ]


def _sign_in_users(testbed: Testbed, server: Server) -> list[User]:
    """Return users who are signed in at Valetkey without an app; later rows get the same users."""
    signed_in = testbed.once("users", lambda: users.sign_in(server, users.sign_up_function(server)))
    for user in signed_in:
        user.server = server  # each row starts a new server, perhaps on another port
    return signed_in


def _rotation_rate(testbed: Testbed, name: str, server: Server, signed_in: list[User]) -> Contender:
    """Return a contender for refresh with rotation; each round begins with new refresh tokens."""
    return Contender(name, lambda seconds: run_load(testbed, workloads.rotation(server, signed_in), seconds))
