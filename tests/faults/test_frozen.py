"""A server that was stopped in the middle of its work: it takes what it is sent, and never answers.

No socket tells that, and no timeout of TCP's ends it. Whoever waits is let go, and the others are told at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.app import ENCRYPTION_KEY
from tests.support.postgres import PostgreSQLServer
from tests.support.redis import RedisServer
from valetkey import RateLimit, Valetkey, public, require_oauth
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quotas import Quotas
from valetkey.rate_limiting.redis_counters import RedisCounters
from valetkey.runtime import prepare_store
from valetkey.storage.engine import psycopg_timeout
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import BUSY_TIMEOUT_S
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.testing import headers_for

PATIENCE = 1.0  # seconds, in place of 4.5
CROWD = 6
MINUTE = Limit(1000, 60, 1000)


Ask = Callable[[], Any]
Crowd = Callable[[Ask], list[tuple[float, Any]]]


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Several threads that ask at once: what each was answered, and after how many seconds."""

    def asked(ask: Ask) -> tuple[float, Any]:
        began = time.monotonic()
        try:
            answer = ask()
        except StoreUnavailable as problem:
            answer = type(problem).__name__
        return time.monotonic() - began, answer

    with ThreadPoolExecutor(CROWD) as threads:
        yield lambda ask: list(threads.map(asked, [ask] * CROWD))


@pytest.fixture
def frozen_store(
    crowd: Crowd, disposable_postgresql: PostgreSQLServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """An API whose store is this test's own PostgreSQL."""
    monkeypatch.setattr(psycopg_timeout, "ANSWER_TIMEOUT_S", PATIENCE)
    app = Flask("api")
    given = {
        "database_url": disposable_postgresql.create_database(),
        "data_dir": str(tmp_path),
        "encryption_keys": (ENCRYPTION_KEY,),
    }
    Valetkey(app, scopes={"profile": "See"}, embedded_worker=False, **given)
    prepare_store(app.extensions["valetkey"])
    app.add_url_rule("/api/mine", "mine", require_oauth("profile", limit="1000/minute")(dict))
    app.add_url_rule("/api/news", "news", public(limit=RateLimit("1000/minute", fail="open"))(dict))
    yield app
    app.extensions["valetkey"].close()


def test_a_database_that_is_frozen_is_a_503_for_everybody_in_bounded_time(
    frozen_store: Flask, disposable_postgresql: PostgreSQLServer, crowd: Crowd
) -> None:
    """One after the other, each waiting its turn, they would wait for as long as there are callers."""
    headers = headers_for(frozen_store, "profile", user_id="ada")

    def call() -> int:
        return frozen_store.test_client().get("/api/mine", headers=headers).status_code

    assert {status for _, status in crowd(call)} == {200}
    with disposable_postgresql.frozen():
        time.sleep(1)  # a revocation feed is fresh so long, and needs no store
        first = crowd(call)
        then = crowd(call)
    deadline = time.monotonic() + 5
    while call() != 200:
        assert time.monotonic() < deadline, "it did not come back by itself"
        time.sleep(0.1)

    assert {status for _, status in first + then} == {503}
    assert max(seconds for seconds, _ in first) < PATIENCE + 2 + 1, "an answer, or a connection, and one turn"
    assert sum(seconds < 0.5 for seconds, _ in then) >= CROWD - 1, "one asks again for all"


def test_a_route_whose_limit_fails_open_goes_on_while_the_database_is_frozen(
    frozen_store: Flask, disposable_postgresql: PostgreSQLServer
) -> None:
    client = frozen_store.test_client()
    assert client.get("/api/news").headers["RateLimit"]

    with disposable_postgresql.frozen():
        began = time.monotonic()
        answers = [client.get("/api/news") for _ in range(20)]
        waited = time.monotonic() - began

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[-1].headers
    assert waited < PATIENCE + 2 + 1


def test_a_redis_that_is_frozen_costs_a_second_once(redis_server: RedisServer, crowd: Crowd) -> None:
    limiter = Limiter(RedisCounters(redis_server.url))
    assert limiter.spend("frozen", MINUTE, time.time()).is_admitted

    with redis_server.frozen():
        waited = crowd(lambda: limiter.spend("frozen", MINUTE, time.time()))
        told = crowd(lambda: limiter.spend("another", MINUTE, time.time()))

    assert {answer for _, answer in waited} <= {"StoreUnavailable", "StoreTimeout"}
    assert max(seconds for seconds, _ in waited) < 1.8, "twice a second where a silent server is asked again"
    assert max(seconds for seconds, _ in told) < 0.5
    limiter.close()


def test_callers_do_not_queue_for_a_quota_whose_store_somebody_holds(sqlite_store_url: str, crowd: Crowd) -> None:
    """Each would wait two seconds for the store, and all those before it."""
    store = open_store(sqlite_store_url)
    quotas, month = Quotas(store, time.time), Quota(10_000, "month")
    holder = sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    waited = crowd(lambda: quotas.spend("app", month, time.time()))

    assert {answer for _, answer in waited} == {"StoreBusy", "StoreTimeout"}
    assert max(seconds for seconds, _ in waited) < BUSY_TIMEOUT_S * 1.5
    holder.close()
    store.close()
