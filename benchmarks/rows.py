"""The rows of the table: which contenders each has, and which ratio is aimed at."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import acts, people, servers
from benchmarks.crowd import crowd
from benchmarks.first_token import first_token
from benchmarks.load import Load
from benchmarks.people import Person
from benchmarks.place import Place
from benchmarks.processes import largest_below
from benchmarks.servers import Server
from benchmarks.visitors import signing_in

APP = Path(__file__).parent / "app.py"
PROTECTED, PUBLIC = "/api/protected", "/api/public"
DISCOVERY = "/.well-known/openid-configuration"
VISITORS = 20
LOAD_IS_LIMIT = 0.8


@dataclass(frozen=True)
class Contender:
    """One side of a row: a number for each round."""

    name: str
    run: Callable[[float], float]
    unit: str = "/s"


@dataclass(frozen=True)
class Target:
    """``ours`` / ``against`` (or ``ours`` itself) shall reach ``first``; ``then`` says what comes after."""

    row: str
    act: str
    ours: str
    against: str | None
    first: float
    then: str
    less_is_better: bool = False


Row = Callable[[Place, ExitStack], list[Contender]]


def protected_route(place: Place, running: ExitStack) -> list[Contender]:
    ours = _app(place, running)
    authlib, toolkit = servers.authlib(place, running), servers.toolkit(place, running)
    return [
        _rate(place, "valetkey, protected", acts.call(ours, PROTECTED)),
        _rate(place, "valetkey, public", acts.get_public(ours, PUBLIC)),
        _rate(place, "Flask alone", acts.get_public(servers.flask_floor(place, running), PUBLIC)),
        _rate(place, "Authlib, protected", acts.call(authlib, "/protected")),
        _rate(place, "django-oauth-toolkit, protected", acts.call(toolkit, "/protected")),
        _rate(place, "django-oauth-toolkit, public", acts.get_public(toolkit, "/public")),
    ]


def remote_tokens(place: Place, running: ExitStack) -> list[Contender]:
    ours = servers.resource_server(place, running)
    return [
        _rate(place, "valetkey, tokens of another server", acts.call(ours, PROTECTED)),
        _rate(place, "valetkey alone, public", acts.get_public(ours, PUBLIC)),
    ]


def jwt_tokens(place: Place, running: ExitStack) -> list[Contender]:
    return [
        _rate(place, server.name, acts.client_credentials(server, acts.JWT))
        for server in (
            _service(place, running),
            servers.node_provider(place, running, jwt=True),
            servers.authlib(place, running),
        )
    ]


def opaque_tokens(place: Place, running: ExitStack) -> list[Contender]:
    contenders = []
    postgresql = place.postgresql()
    for name, ours, theirs in (
        ("SQLite", None, None),
        ("PostgreSQL", postgresql.create_database(), postgresql.create_database()),
    ):
        made = servers.new_deployment(place, database_url=ours, opaque=True)
        for server in (
            servers.valetkey(place, running, made),
            servers.toolkit(place, running, theirs),
        ):
            load = acts.client_credentials(server, acts.OPAQUE)
            contenders.append(_rate(place, f"{server.name}, {name}", load))
    return contenders


def introspection(place: Place, running: ExitStack) -> list[Contender]:
    opaque = servers.valetkey(place, running, servers.new_deployment(place, opaque=True))
    node = servers.node_provider(place, running, jwt=False)
    return [
        _rate(place, "valetkey, opaque", acts.introspection(opaque)),
        _rate(place, "valetkey, JWT", acts.introspection(_service(place, running))),
        _rate(place, node.name, acts.introspection(node)),
    ]


def refresh(place: Place, running: ExitStack) -> list[Contender]:
    return [_rotating(place, server.name, server, who) for server, who in _with_people(place, running)]


def code_flow(place: Place, running: ExitStack) -> list[Contender]:
    return [_rate(place, server.name, acts.code_flow(server, who)) for server, who in _with_people(place, running)]


def two_workers(place: Place, running: ExitStack) -> list[Contender]:
    contenders = []
    for workers in (2, 1):
        app = _app(place, running, workers=workers, cores=place.both)
        service = _service(place, running, workers=workers, cores=place.both)
        for act, load in (
            ("protected route", acts.call(app, PROTECTED)),
            ("tokens", acts.client_credentials(service, acts.JWT)),
        ):
            name = f"valetkey, {act}, {workers} worker{'s'[: workers - 1]}"
            contenders.append(_rate(place, name, load, cores=place.both))
    return contenders


def footprint(place: Place, running: ExitStack) -> list[Contender]:
    server = _service(place, running)
    flows = acts.code_flow(server, _people(place, server))

    def memory(seconds: float) -> float:
        _run(place, flows, seconds)
        return largest_below(server.program.pid)

    deployment, machines, _ = _service_made(place)
    return [
        Contender("valetkey, memory of a worker", memory, "MB"),
        Contender("valetkey, first token", lambda _: first_token(place, deployment, machines[0]), "s"),
    ]


def sign_ins(place: Place, running: ExitStack) -> list[Contender]:
    server = _app(place, running)
    load = acts.call(server, PROTECTED)
    people.make_accounts(server, VISITORS)

    def disturbed(seconds: float) -> float:
        with signing_in(server, VISITORS, core=place.cores[1]):
            return load.run(seconds, str(place.cores[1])).p99_ms

    return [
        Contender("valetkey, p99 while people sign in", disturbed, "ms"),
        Contender("valetkey, p99", lambda s: load.run(s, str(place.cores[1])).p99_ms, "ms"),
    ]


def documents(place: Place, running: ExitStack) -> list[Contender]:
    ours = _app(place, running)
    return [
        _rate(place, "valetkey, discovery", acts.get_document(ours, DISCOVERY, '"issuer"')),
        _rate(place, "valetkey, JWKS", acts.get_document(ours, "/oauth/jwks", '"keys"')),
        _rate(place, "valetkey, public", acts.get_public(ours, PUBLIC)),
        _rate(place, "Flask alone", acts.get_public(servers.flask_floor(place, running), PUBLIC)),
    ]


def userinfo(place: Place, running: ExitStack) -> list[Contender]:
    ours = servers.valetkey(place, running, servers.new_deployment(place, app=APP))
    who = people.sign_in(ours, people.sign_up_at(ours), scope="openid profile")
    return [
        _rate(place, "valetkey, userinfo", acts.userinfo(ours, who)),
        _rate(place, "valetkey, protected", acts.call(ours, PROTECTED)),
    ]


def crowded_store(place: Place, running: ExitStack) -> list[Contender]:
    """The same acts on a store with few things in it, and on one with millions."""
    contenders = []
    for name in ("crowded", "small"):
        made = servers.new_deployment(place, app=APP, opaque=True)
        if name == "crowded":
            crowd(next(Path(made[0].data_dir).glob("*.db")), now=time.time())
        server = servers.valetkey(place, running, made)
        who = people.sign_in(server, people.sign_up_at(server))
        contenders += [
            _rate(place, f"{name}, tokens for machines", acts.client_credentials(server, acts.OPAQUE)),
            _rate(place, f"{name}, protected route", acts.call(server, PROTECTED)),
            _rate(place, f"{name}, introspection", acts.introspection(server)),
            _rotating(place, f"{name}, refresh", server, who),
            _rate(place, f"{name}, code flow", acts.code_flow(server, who)),
        ]
    return contenders


ROWS: dict[str, Row] = {
    "P1": protected_route,
    "P2": jwt_tokens,
    "P3": opaque_tokens,
    "P4": introspection,
    "P5": refresh,
    "P6": code_flow,
    "P7": two_workers,
    "P8": crowded_store,
    "P9": footprint,
    "P10": sign_ins,
    "P11": documents,
    "P12": userinfo,
    "R1": remote_tokens,
}
USUAL = [row for row in ROWS if row != "P8"]  # whose store of some GB takes minutes to fill
NODE_JWT, NODE_OPAQUE, TOOLKIT = (
    "node-oidc-provider, JWT",
    "node-oidc-provider, opaque",
    "django-oauth-toolkit",
)
# fmt: off
TARGETS = [
    Target("P1", "protected route / public route", "valetkey, protected", "valetkey, public", 0.85, "0.93"),
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
    Target("P7", "2 workers / 1, protected route",
           "valetkey, protected route, 2 workers", "valetkey, protected route, 1 worker", 1.8, "1.9"),
    Target("P7", "2 workers / 1, client_credentials",
           "valetkey, tokens, 2 workers", "valetkey, tokens, 1 worker", 1.8, "1.9"),
    *(
        Target("P8", f"{act}, crowded store / small", f"crowded, {act}", f"small, {act}", 0.85, "0.95")
        for act in ("tokens for machines", "protected route", "introspection", "refresh", "code flow")
    ),
    Target("P9", "memory of a worker, MB", "valetkey, memory of a worker", None, 110, "85", True),
    Target("P9", "start to first token, s", "valetkey, first token", None, 2, "1", True),
    Target("P10", "p99 while people sign in / without",
           "valetkey, p99 while people sign in", "valetkey, p99", 3, "1.5", True),
    Target("P11", "discovery / plain JSON route", "valetkey, discovery", "valetkey, public", 0.9, "1"),
    Target("P11", "JWKS / plain JSON route", "valetkey, JWKS", "valetkey, public", 0.9, "1"),
    Target("P12", "userinfo / protected route", "valetkey, userinfo", "valetkey, protected", 0.8, "1"),
    Target("R1", "remote JWT validation, warm / public route",
           "valetkey, tokens of another server", "valetkey alone, public", 0.85, "0.93"),
]
# fmt: on


def _service(place: Place, running: ExitStack, *, workers: int = 1, cores: str | None = None) -> Server:
    """The bare service; two servers of one row share its database."""
    return servers.valetkey(place, running, _service_made(place), workers=workers, cores=cores)


def _service_made(place: Place) -> servers.Made:
    return place.once("service", lambda: servers.new_deployment(place))


def _app(place: Place, running: ExitStack, *, workers: int = 1, cores: str | None = None) -> Server:
    made = place.once("app", lambda: servers.new_deployment(place, app=APP))
    return servers.valetkey(place, running, made, workers=workers, cores=cores)


def _with_people(place: Place, running: ExitStack) -> list[tuple[Server, list[Person]]]:
    ours = _service(place, running)
    nodes = [servers.node_provider(place, running, jwt=jwt) for jwt in (True, False)]
    return [
        (ours, _people(place, ours)),
        *((node, people.sign_in(node, people.nothing)) for node in nodes),
    ]


def _people(place: Place, server: Server) -> list[Person]:
    who = place.once("people", lambda: people.sign_in(server, people.sign_up_at(server)))
    for person in who:
        person.server = server  # it was started anew for this row, perhaps on another port
    return who


def _rate(place: Place, name: str, load: Load, *, cores: str | None = None) -> Contender:
    return Contender(name, lambda seconds: _run(place, load, seconds, cores))


def _rotating(place: Place, name: str, server: Server, who: list[Person]) -> Contender:
    """Refresh with rotation; each round begins with new refresh tokens."""
    return Contender(name, lambda seconds: _run(place, acts.rotation(server, who), seconds))


def _run(place: Place, load: Load, seconds: float, cores: str | None = None) -> float:
    measured = load.run(seconds, cores or str(place.cores[1]))
    if measured.busy > LOAD_IS_LIMIT:
        print(f"wrk used {measured.busy:.0%} of its core: {load.url} may be faster than this.", flush=True)
    return measured.per_second
