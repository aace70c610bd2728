"""Eight processes that use one budget never exceed a limit, ``burst + n * t / period`` in any t seconds, or a quota.

This holds while one of them is killed, and across a restart of the database. The counters survive a restart of
PostgreSQL, as they do in the SQLite file. They survive a restart of Redis only if Redis is configured to store its data
on disk: if it starts empty, each budget is available once more, which the third test shows.

The test of quotas failed once, on purpose, with a build that read a quota's slice and charged it in two statements: 192
calls over the quota on SQLite. A lease that is charged at its start instead of its end is found by ``test_limits.py``,
whose callers pause and call again, and by ``tests/rate_limiting/test_gcra_bound.py``.
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
from tests.support.redis_server import RedisServer
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.counters import Counters
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.backends.sql_counters import SqlCounters, SqliteCounters, open_local_counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quota_counter import Quotas
from valetkey.storage import quotas
from valetkey.storage.engine.open import open_store
from valetkey.storage.schema import upgrade_schema

PROCESSES = 8
LIMIT = Limit(400, 1, 400)
QUOTA = Quota(3000, "month")


def open_counters(backend: str, location: str) -> Counters:
    if backend == "mapped":
        return open_local_counters(Path(location))
    if backend == "sqlite":
        return SqliteCounters(Path(location))
    return RedisCounters(location, "https://api.example") if backend == "redis" else SqlCounters(open_store(location))


def spend_limit(folder: Path, barrier: Any, duration_s: float, backend: str, location: str) -> None:
    """Call as often as the limit admits, and write two times between which each call was admitted."""
    limiter, admissions_file = Limiter(open_counters(backend, location)), open_admissions_file(folder)
    barrier.wait(120)
    deadline = time.time() + duration_s
    while (earliest := time.time()) < deadline:
        try:
            is_admitted = limiter.spend("shared", LIMIT, earliest).is_admitted
        except BackendUnavailable:
            time.sleep(0.01)
            continue
        if is_admitted:
            os.write(admissions_file, f"{earliest!r} {time.time()!r}\n".encode())
        else:
            time.sleep(0.001)


def spend_quota(folder: Path, barrier: Any, duration_s: float, url: str) -> None:
    """Call as often as the quota admits, and write a line for each admitted call."""
    process_quotas, admissions_file = Quotas(open_store(url), time.time), open_admissions_file(folder)
    barrier.wait(120)
    now = time.time()  # the same for all calls, so that they are in one month even if the month ends now
    while time.time() < now + duration_s:
        try:
            if process_quotas.spend("app", QUOTA, now).is_admitted:
                os.write(admissions_file, b"admitted\n")
        except BackendUnavailable:
            time.sleep(0.01)
    process_quotas.return_all_slices()


def open_admissions_file(folder: Path) -> int:
    """Open the file of this process's admissions, unbuffered: a kill loses no line that was written."""
    return os.open(folder / f"{os.getpid()}.admissions", os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def run_processes(
    target: Callable[..., None],
    folder: Path,
    duration_s: float,
    *arguments: Any,
    meanwhile: Callable[[], None] | None = None,
) -> list[list[str]]:
    """Run a function in eight processes and kill one of them after a third of the time.

    :param target: ``spend_limit`` or ``spend_quota``.
    :param arguments: the further arguments of ``target``.
    :param meanwhile: is called after the kill.
    :return: the lines that each process wrote.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(PROCESSES + 1)
    processes = [spawn.Process(target=target, args=(folder, barrier, duration_s, *arguments)) for _ in range(PROCESSES)]
    try:
        for process in processes:
            process.start()
        barrier.wait(120)
        processes[0].join(duration_s / 3)
        processes[0].kill()
        if meanwhile is not None:
            meanwhile()
        for process in processes:
            process.join(60)
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes[1:]] == [0] * (PROCESSES - 1)
    return [file.read_text().splitlines() for file in folder.glob("*.admissions")]


def parse_admissions(lines_by_process: list[list[str]]) -> CallResults:
    """Return the admissions of all processes of ``spend_limit``."""
    admissions = [line.split() for lines in lines_by_process for line in lines]
    return CallResults(admissions=[(float(earliest), float(latest)) for earliest, latest in admissions])


@pytest.fixture(params=["mapped", "sqlite", "postgresql", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The name of a backend of counters, and its file or URL."""
    if request.param in {"mapped", "sqlite"}:
        return request.param, str(tmp_path / "limits.db")
    if request.param == "redis":
        return "redis", str(request.getfixturevalue("redis_server").url)
    url = request.getfixturevalue("postgresql").create_database()
    upgrade_schema(url)
    return "postgresql", url


def test_eight_processes_never_exceed_a_shared_limit(backend: tuple[str, str], tmp_path: Path) -> None:
    calls = parse_admissions(run_processes(spend_limit, tmp_path, 2, *backend))

    assert len(calls.admissions) > LIMIT.burst, "not more than a burst: the limit was not reached"
    assert calls.excess(LIMIT.max_calls, LIMIT.period_s, LIMIT.burst) <= 0


@pytest.fixture
def durable_postgresql() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server of this test alone, whose committed data survives a kill."""
    with PostgreSQLServer(durable=True) as server:
        yield server


def test_a_restart_of_postgresql_gives_no_budget_back(durable_postgresql: PostgreSQLServer, tmp_path: Path) -> None:
    url = durable_postgresql.create_database()
    upgrade_schema(url)

    def restart() -> None:
        durable_postgresql.kill()
        durable_postgresql.start()

    calls = parse_admissions(run_processes(spend_limit, tmp_path, 3, "postgresql", url, meanwhile=restart))

    assert len(calls.admissions) > LIMIT.burst
    assert calls.excess(LIMIT.max_calls, LIMIT.period_s, LIMIT.burst) <= 0


def test_a_redis_server_that_restarts_empty_gives_each_budget_back_once(redis_server: RedisServer) -> None:
    limit = Limit(10, 86400, 10)
    limiter = Limiter(RedisCounters(redis_server.url, "https://api.example"))
    assert [limiter.spend("lost", limit, time.time()).is_admitted for _ in range(11)].count(True) == 10
    redis_server.stop()
    redis_server.start()

    new_limiter = Limiter(RedisCounters(redis_server.url, "https://api.example"))

    assert [new_limiter.spend("lost", limit, time.time()).is_admitted for _ in range(11)].count(True) == 10


@pytest.fixture(params=["sqlite", "postgresql"])
def quotas_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with tables, on SQLite and on PostgreSQL."""
    url = f"sqlite:///{tmp_path / 'quotas.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").create_database()
    upgrade_schema(url)
    return url


def test_eight_processes_never_exceed_a_shared_quota(quotas_url: str, tmp_path: Path) -> None:
    admitted = sum(map(len, run_processes(spend_quota, tmp_path, 3, quotas_url)))

    store, period = open_store(quotas_url), QUOTA.period_bounds(time.time())
    charged = quotas.find_charged(store, "app", "month", period[0])
    store.close()
    assert admitted <= charged <= QUOTA.max_calls
    assert admitted > QUOTA.max_calls * 0.8, "only the slice of the killed process is lost"
