"""Eight processes that hammer one key: never one call over ``b + n * t / period`` in any window, nor over a quota.

Also while one of them is killed, and across a restart of the store. PostgreSQL keeps what was spent through its
restart, and so does the SQLite file. Redis promises it only where it is set up to keep its data: one that comes back
empty gives every budget back once, which a last test shows.

Shown once to fail where a quota's slice is looked for and then taken in two statements: 192 calls over the quota on
SQLite. A lease that is charged at its beginning is caught in ``test_limits.py``, whose callers rest and come back, and
in ``tests/rate_limiting/test_the_bound.py``.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.races.load_generator import CallResults
from tests.support.postgres import PostgreSQLServer
from tests.support.redis import RedisServer
from valetkey.rate_limiting.counters import Counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quotas import Quotas
from valetkey.rate_limiting.redis_counters import RedisCounters
from valetkey.rate_limiting.sql_counters import SqlCounters, SqliteCounters
from valetkey.storage import quotas
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.schema import upgrade_schema

PROCESSES = 8
FAST = Limit(400, 1, 400)
MONTH = Quota(3000, "month")


def open_counters(kind: str, where: str) -> Counters:
    if kind == "sqlite":
        return SqliteCounters(Path(where))
    return RedisCounters(where) if kind == "redis" else SqlCounters(open_store(where))


def spend(folder: Path, ready: Any, seconds: float, kind: str, where: str) -> None:
    limiter, told = Limiter(open_counters(kind, where)), notes(folder)
    ready.wait(120)
    until = time.time() + seconds
    while (before := time.time()) < until:
        try:
            admitted = limiter.spend("hammered", FAST, before).is_admitted
        except StoreUnavailable:
            time.sleep(0.01)
            continue
        if admitted:
            os.write(told, f"{before!r} {time.time()!r}\n".encode())
        else:
            time.sleep(0.001)


def take(folder: Path, ready: Any, seconds: float, url: str) -> None:
    counted, told = Quotas(open_store(url), time.time), notes(folder)
    ready.wait(120)
    now = time.time()  # all in one month, also at midnight
    while time.time() < now + seconds:
        try:
            if counted.spend("app", MONTH, now).is_admitted:
                os.write(told, b"taken\n")
        except StoreUnavailable:
            time.sleep(0.01)
    counted.return_all_slices()


def notes(folder: Path) -> int:
    """Where a process tells what it let through: each line at once, so that no kill takes one back."""
    return os.open(folder / f"{os.getpid()}.told", os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def run(
    target: Callable[..., None], folder: Path, seconds: float, *given: Any, meanwhile: Callable[[], None] | None = None
) -> list[list[str]]:
    """What each of eight processes told in so many seconds, after one third of which one of them is killed."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(PROCESSES + 1)
    processes = [spawn.Process(target=target, args=(folder, ready, seconds, *given)) for _ in range(PROCESSES)]
    try:
        for process in processes:
            process.start()
        ready.wait(120)
        processes[0].join(seconds / 3)
        processes[0].kill()
        if meanwhile is not None:
            meanwhile()
        for process in processes:
            process.join(60)
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes[1:]] == [0] * (PROCESSES - 1)
    return [file.read_text().splitlines() for file in folder.glob("*.told")]


def history(told: list[list[str]]) -> CallResults:
    moments = [line.split() for lines in told for line in lines]
    return CallResults(admissions=[(float(first), float(last)) for first, last in moments])


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    if request.param == "sqlite":
        return "sqlite", str(tmp_path / "limits.db")
    if request.param == "redis":
        return "redis", str(request.getfixturevalue("redis_server").url)
    url = request.getfixturevalue("postgresql").create_database()
    upgrade_schema(url)
    return "postgresql", url


def test_no_window_of_the_history_is_over_the_bound(shared: tuple[str, str], tmp_path: Path) -> None:
    calls = history(run(spend, tmp_path, 2, *shared))

    assert len(calls.admissions) > FAST.burst, "more than a burst, or nothing was shown"
    assert calls.excess(FAST.max_calls, FAST.period_s, FAST.burst) <= 0


@pytest.fixture
def durable() -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(durable=True) as server:
        yield server


def test_a_restart_of_postgresql_gives_no_budget_back(durable: PostgreSQLServer, tmp_path: Path) -> None:
    url = durable.create_database()
    upgrade_schema(url)

    def restart() -> None:
        durable.kill()
        durable.start()

    calls = history(run(spend, tmp_path, 3, "postgresql", url, meanwhile=restart))

    assert len(calls.admissions) > FAST.burst
    assert calls.excess(FAST.max_calls, FAST.period_s, FAST.burst) <= 0


def test_redis_that_kept_nothing_gives_each_budget_back_once(redis_server: RedisServer) -> None:
    limit = Limit(10, 86400, 10)
    limiter = Limiter(RedisCounters(redis_server.url))
    assert [limiter.spend("lost", limit, time.time()).is_admitted for _ in range(11)].count(True) == 10
    redis_server.stop()
    redis_server.start()

    again = Limiter(RedisCounters(redis_server.url))

    assert [again.spend("lost", limit, time.time()).is_admitted for _ in range(11)].count(True) == 10


@pytest.fixture(params=["sqlite", "postgresql"])
def store_of_quotas(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'quotas.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").create_database()
    upgrade_schema(url)
    return url


def test_no_call_is_let_through_over_a_quota(store_of_quotas: str, tmp_path: Path) -> None:
    told = run(take, tmp_path, 3, store_of_quotas)
    let_through = sum(map(len, told))

    store, period = open_store(store_of_quotas), MONTH.period_bounds(time.time())
    taken = quotas.find_charged(store, "app", "month", period[0])
    store.close()
    assert let_through <= taken <= MONTH.max_calls
    assert let_through > MONTH.max_calls * 0.8, "what a killed process held, and no more, is lost"
