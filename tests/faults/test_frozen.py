"""Suspended database servers: they accept connections and data but do not respond.

The socket reports no error and TCP has no timeout for this. Callers that wait get an error after a bounded time, and
callers after them get it at once.
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
from tests.support.redis_server import RedisServer
from valetkey import RateLimit, Valetkey, public, require_oauth
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quota_counter import Quotas
from valetkey.runtime import prepare_store
from valetkey.storage.engine import psycopg_timeout
from valetkey.storage.engine.connection import BUSY_TIMEOUT_S
from valetkey.storage.engine.open import open_store
from valetkey.testing import headers_for

RESPONSE_TIMEOUT_S = 1.0  # instead of 4.5
MAX_WAIT_S = RESPONSE_TIMEOUT_S + 2 + 1  # a response timeout or a connect timeout (2 s), and the wait for a turn
CALLERS = 6
PER_MINUTE = Limit(1000, 60, 1000)


Call = Callable[[], Any]
CallTogether = Callable[[Call], list[tuple[float, Any]]]


@pytest.fixture
def call_together() -> Iterator[CallTogether]:
    """Return a function that calls a function in several threads at the same time.

    It returns the seconds and the result of each call. The result of a ``BackendUnavailable`` is its class name.
    """

    def measure(call: Call) -> tuple[float, Any]:
        began_at = time.monotonic()
        try:
            result = call()
        except BackendUnavailable as error:
            result = type(error).__name__
        return time.monotonic() - began_at, result

    with ThreadPoolExecutor(CALLERS) as threads:
        yield lambda call: list(threads.map(measure, [call] * CALLERS))


@pytest.fixture
def app(
    call_together: CallTogether,  # its threads end after the app is closed
    disposable_postgresql: PostgreSQLServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Flask]:
    """An app whose database is in ``disposable_postgresql``."""
    monkeypatch.setattr(psycopg_timeout, "ANSWER_TIMEOUT_S", RESPONSE_TIMEOUT_S)
    app = Flask("api")
    settings = {
        "database_url": disposable_postgresql.create_database(),
        "data_dir": str(tmp_path),
        "encryption_keys": (ENCRYPTION_KEY,),
    }
    Valetkey(app, scopes={"profile": "See"}, embedded_worker=False, **settings)
    prepare_store(app.extensions["valetkey"])
    app.add_url_rule("/api/mine", "mine", require_oauth("profile", limit="1000/minute")(dict))
    app.add_url_rule("/api/news", "news", public(limit=RateLimit("1000/minute", fail="open"))(dict))
    yield app
    app.extensions["valetkey"].close()


def test_all_callers_get_503_in_bounded_time_while_the_database_is_suspended(
    app: Flask, disposable_postgresql: PostgreSQLServer, call_together: CallTogether
) -> None:
    """If each caller waited for its own timeout after the others, the wait would grow with the number of callers."""
    headers = headers_for(app, "profile", user_id="ada")

    def call() -> int:
        return app.test_client().get("/api/mine", headers=headers).status_code

    assert {status for _, status in call_together(call)} == {200}
    with disposable_postgresql.frozen():
        time.sleep(1)  # for a second the change feed is fresh and needs no database
        first_calls = call_together(call)
        later_calls = call_together(call)
    deadline = time.monotonic() + 5
    while call() != 200:
        assert time.monotonic() < deadline, "the app does not recover by itself"
        time.sleep(0.1)

    assert {status for _, status in first_calls + later_calls} == {503}
    assert max(seconds for seconds, _ in first_calls) < MAX_WAIT_S
    assert sum(seconds < 0.5 for seconds, _ in later_calls) >= CALLERS - 1, "only one caller tries the database again"


def test_a_route_whose_limit_fails_open_responds_while_the_database_is_suspended(
    app: Flask, disposable_postgresql: PostgreSQLServer
) -> None:
    client = app.test_client()
    assert client.get("/api/news").headers["RateLimit"]

    with disposable_postgresql.frozen():
        began_at = time.monotonic()
        responses = [client.get("/api/news") for _ in range(20)]
        duration_s = time.monotonic() - began_at

    assert {response.status_code for response in responses} == {200}
    assert "RateLimit" not in responses[-1].headers
    assert duration_s < MAX_WAIT_S


def test_callers_wait_for_a_suspended_redis_server_only_once(
    redis_server: RedisServer, call_together: CallTogether
) -> None:
    limiter = Limiter(RedisCounters(redis_server.url, "https://api.example"))
    assert limiter.spend("frozen", PER_MINUTE, time.time()).is_admitted

    with redis_server.frozen():
        first_calls = call_together(lambda: limiter.spend("frozen", PER_MINUTE, time.time()))
        later_calls = call_together(lambda: limiter.spend("another", PER_MINUTE, time.time()))

    assert {result for _, result in first_calls} <= {"CountersUnavailable", "StoreTimeout"}
    assert max(seconds for seconds, _ in first_calls) < 1.8, "a second call to the silent server would take 2 s"
    assert max(seconds for seconds, _ in later_calls) < 0.5
    limiter.close()


def test_callers_do_not_queue_for_a_quota_while_the_database_is_locked(
    sqlite_store_url: str, call_together: CallTogether
) -> None:
    """In a queue, each caller would wait two seconds for the database and for every caller before it."""
    store = open_store(sqlite_store_url)
    quotas, per_month = Quotas(store, time.time), Quota(10_000, "month")
    locking_connection = sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"), isolation_level=None)
    locking_connection.execute("BEGIN IMMEDIATE")

    calls = call_together(lambda: quotas.spend("app", per_month, time.time()))

    assert {result for _, result in calls} == {"StoreBusy", "StoreCircuitOpen"}
    assert max(seconds for seconds, _ in calls) < BUSY_TIMEOUT_S * 1.5
    locking_connection.close()
    store.close()
