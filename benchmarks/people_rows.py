"""The rows of calls by a thousand people, each with a budget of their own, and the public route of the same app."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks import servers, workloads
from benchmarks.contender import Contender, Row, Target, rate
from benchmarks.load import Load
from benchmarks.servers import APP
from benchmarks.testbed import Testbed

LIMITED, REFUSED, PUBLIC = "/api/limited", "/api/refused", "/api/public"
PEOPLE = "valetkey, 1,000 people"
_KINDS = {  # name of the contender, kind of token, whether access tokens are opaque
    "P1b": (PEOPLE, "access", False),
    "P1c": (f"{PEOPLE}, personal tokens", "personal", False),
    "P1d": (f"{PEOPLE}, opaque tokens", "access", True),
}


def people(testbed: Testbed, running: ExitStack, *, row: str) -> list[Contender]:
    """P1b, P1c, P1d: a route with a limit that no person reaches, on SQLite; JWTs, personal tokens, opaque tokens."""
    name, kind, opaque = _KINDS[row]
    deployment = servers.create_deployment(testbed, app=APP, opaque=opaque)
    tokens = servers.create_tokens_of_people(deployment[0], kind)
    server = servers.valetkey(testbed, running, deployment)
    load, public = workloads.call_with(server, LIMITED, tokens), workloads.get_public(server, PUBLIC)
    return [
        rate(testbed, name, load),
        rate(testbed, "valetkey, public", public),
        _p99(testbed, f"{name}, p99", load),
        _p99(testbed, "valetkey, public, p99", public),
    ]


def people_on_postgresql(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P1p: as P1b, on PostgreSQL, with limits in PostgreSQL and in Redis."""
    contenders = []
    for name, redis_url in (("PostgreSQL", None), ("PostgreSQL and Redis", testbed.redis_url())):
        database_url = testbed.postgresql().create_database()
        deployment = servers.create_deployment(testbed, app=APP, database_url=database_url, redis_url=redis_url)
        tokens = servers.create_tokens_of_people(deployment[0], "access")
        server = servers.valetkey(testbed, running, deployment)
        contenders += [
            rate(testbed, f"{PEOPLE}, {name}", workloads.call_with(server, LIMITED, tokens)),
            rate(testbed, f"valetkey, public, {name}", workloads.get_public(server, PUBLIC)),
        ]
    return contenders


def refused_calls(testbed: Testbed, running: ExitStack) -> list[Contender]:
    """P1e: calls that are refused with 429, because the budget is used up."""
    deployment = servers.create_deployment(testbed, app=APP)
    tokens = servers.create_tokens_of_people(deployment[0], "access")
    server = servers.valetkey(testbed, running, deployment)
    workloads.use_up_budgets(server, REFUSED, tokens)
    return [
        rate(testbed, f"{PEOPLE}, refused", workloads.call_with(server, REFUSED, tokens, status=429)),
        rate(testbed, "valetkey, public", workloads.get_public(server, PUBLIC)),
    ]


def _p99(testbed: Testbed, name: str, load: Load) -> Contender:
    """Return a contender whose value is the 99th percentile of the response time, in milliseconds."""
    return Contender(name, lambda seconds: load.run(seconds, str(testbed.cores[1])).p99_ms, "ms")


PEOPLE_ROWS: dict[str, Row] = {
    **{row: partial(people, row=row) for row in _KINDS},
    "P1e": refused_calls,
    "P1p": people_on_postgresql,
}
# fmt: off
PEOPLE_TARGETS = [
    Target("P1b", "1,000 people / public route", PEOPLE, "valetkey, public", 0.80, "0.90"),
    Target("P1b", "p99 / public route's p99", f"{PEOPLE}, p99", "valetkey, public, p99", 1.5, "1.2", True),
    Target("P1c", "personal tokens of 1,000 people / public route",
           f"{PEOPLE}, personal tokens", "valetkey, public", 0.75, "0.88"),
    Target("P1d", "opaque tokens of 1,000 people / public route",
           f"{PEOPLE}, opaque tokens", "valetkey, public", 0.75, "0.88"),
    Target("P1e", "refused calls / public route", f"{PEOPLE}, refused", "valetkey, public", 0.8, "0.9"),
    Target("P1p", "1,000 people / public route, PostgreSQL",
           f"{PEOPLE}, PostgreSQL", "valetkey, public, PostgreSQL", 0.65, "0.80"),
    Target("P1p", "1,000 people / public route, PostgreSQL and Redis",
           f"{PEOPLE}, PostgreSQL and Redis", "valetkey, public, PostgreSQL and Redis", 0.75, "0.88"),
]
# fmt: on
