"""Calls of several threads are counted in one statement, with the same results as one by one."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.postgres import PostgreSQLServer
from tests.support.redis_server import RedisServer
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.counters import Counters, CountersUnavailable, Spend, SpendResult
from valetkey.rate_limiting.backends.grouped_counters import GroupedCounters
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.backends.sql_counters import SqlCounters
from valetkey.storage.engine.open import open_store
from valetkey.storage.limits import ROUTE_LIMITS
from valetkey.storage.schema import upgrade_schema

NOW, BURST, COST_S = 1_900_000_000.0, 20, 0.5
MAX_TAT = NOW + BURST * COST_S
OpenCounters = Callable[[], Counters]


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def open_counters(request: pytest.FixtureRequest) -> Iterator[OpenCounters]:
    """Return a function that opens the counters of one process; all have the same database."""
    opened: list[Counters] = []
    if request.param == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        url = server.create_database()
        upgrade_schema(url)
    else:
        redis_server: RedisServer = request.getfixturevalue("redis_server")

    def open_one() -> Counters:
        counters: Counters = (
            SqlCounters(open_store(url), ROUTE_LIMITS)
            if request.param == "postgresql"
            else RedisCounters(redis_server.url, "https://api.example")
        )
        opened.append(counters)
        return counters

    yield open_one
    for counters in opened:
        counters.close()


def spend(counters: Counters, key: str) -> SpendResult:
    return counters.spend(key, NOW, COST_S, MAX_TAT)


def test_a_group_has_the_results_of_single_calls(open_counters: OpenCounters) -> None:
    counters = open_counters()
    spend(counters, "group begun")
    counters.spend("group used up", NOW, BURST * COST_S, MAX_TAT)
    counters.spend("group refunded", NOW, BURST * COST_S, MAX_TAT)
    counters.refund("group refunded", COST_S, None)
    counters.spend("group of a fast clock", NOW + 7200, COST_S, MAX_TAT + 7200)
    spends = [
        Spend(f"group {name}", NOW, cost_s, MAX_TAT)
        for name, cost_s in [
            ("used up", COST_S),
            ("new", COST_S),
            ("too expensive", (BURST + 1) * COST_S),
            ("begun", 2 * COST_S),
            ("of a fast clock", COST_S),
            ("refunded", COST_S),
        ]
    ]

    assert counters.spend_all(spends) == [
        (False, MAX_TAT),
        (True, NOW + COST_S),
        (False, NOW),
        (True, NOW + 3 * COST_S),
        (True, NOW + COST_S),
        (True, MAX_TAT),
    ]
    assert counters.read("group used up", 0.0) == MAX_TAT
    assert counters.read("group too expensive", 0.0) == 0.0


def test_threads_of_several_processes_spend_each_budget_exactly_once(open_counters: OpenCounters) -> None:
    """One of them prunes meanwhile."""
    keys = [f"shared {number}" for number in range(40)]
    backends = [open_counters() for _ in range(3)]
    groups: list[int] = []

    def record_group(counters: Counters) -> Counters:
        spend_all = counters.spend_all

        def recorded(spends: Sequence[Spend]) -> list[SpendResult]:
            groups.append(len(spends))
            return spend_all(spends)

        counters.spend_all = recorded  # type: ignore[method-assign]
        return counters

    processes = [GroupedCounters(record_group(counters)) for counters in backends]
    is_finished = threading.Event()

    def prune() -> None:
        while not is_finished.is_set():
            backends[0].prune(NOW)

    def call(seed: int) -> Counter[str]:
        order = keys * 4
        random.Random(seed).shuffle(order)
        return Counter(key for key in order if spend(processes[seed % len(processes)], key)[0])

    with ThreadPoolExecutor(25) as pool:
        pruning = pool.submit(prune)
        admitted = sum(pool.map(call, range(24)), Counter())
        is_finished.set()
        pruning.result()

    assert admitted == Counter(dict.fromkeys(keys, BURST))
    assert max(groups) > 4


def test_two_calls_with_one_key_are_counted_one_after_the_other(open_counters: OpenCounters) -> None:
    counters = GroupedCounters(open_counters())

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: spend(counters, "one key"), range(100)))

    assert sorted(tat for is_admitted, tat in results if is_admitted) == [
        NOW + COST_S * number for number in range(1, BURST + 1)
    ]
    assert {tat for is_admitted, tat in results if not is_admitted} == {MAX_TAT}


def test_postgresql_locks_counters_in_the_order_of_their_keys(postgresql: PostgreSQLServer) -> None:
    """Otherwise two processes that count the same keys in different orders could wait for each other."""
    url = postgresql.create_database()
    upgrade_schema(url)
    counters = SqlCounters(open_store(url), ROUTE_LIMITS)
    lock = "SELECT FROM valetkey_route_limits WHERE key = %s FOR UPDATE NOWAIT"
    for key in ("first", "second"):
        spend(counters, key)

    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as other, psycopg.connect(url) as observer:
        other.execute(lock, ["second"])
        group = pool.submit(counters.spend_all, [Spend(key, NOW, COST_S, MAX_TAT) for key in ("second", "first")])
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while observer.execute(waiting).fetchone() is None:
            observer.rollback()  # else it would read the same statistics again
        with pytest.raises(psycopg.errors.LockNotAvailable):
            observer.execute(lock, ["first"])
        other.rollback()

        assert group.result() == [(True, NOW + 2 * COST_S)] * 2
    counters.close()


class Stopped(BaseException):
    """What stops a thread, as a timeout of a server does."""


class BlockedCounters:
    """A backend whose first call waits until the test continues it, and whose groups fail."""

    def __init__(self) -> None:
        self.is_called, self.may_continue = threading.Event(), threading.Event()

    def spend(self, *_: object) -> SpendResult:
        self.is_called.set()
        assert self.may_continue.wait(10)
        return True, NOW

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        raise CountersUnavailable(f"no connection for {len(spends)} calls")


def test_all_calls_of_a_group_fail_with_it_and_the_next_call_is_counted() -> None:
    backend = BlockedCounters()
    counters = GroupedCounters(backend)  # type: ignore[arg-type]  # refund() and others are not called

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(spend, counters, "first")
        assert backend.is_called.wait(10)
        others = [pool.submit(spend, counters, f"other {number}") for number in range(3)]
        while len(counters._queue._items) < 3:
            threading.Event().wait(0.001)
        backend.may_continue.set()

        assert first.result() == (True, NOW)
        for other in others:
            with pytest.raises(BackendUnavailable, match="no connection for 3 calls"):
                other.result()
    assert spend(counters, "next") == (True, NOW)


def failures_of_four_calls(backend: BlockedCounters, counters: GroupedCounters) -> list[BaseException | None]:
    """Make a call, and three more that wait for it; return the exception of each."""
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(spend, counters, "first")]
        assert backend.is_called.wait(10)
        for number, key in enumerate(("twice", "twice", "other"), 1):
            calls.append(pool.submit(spend, counters, key))
            while len(counters._queue._items) < number:
                threading.Event().wait(0.001)
        backend.may_continue.set()
        return [call.exception(10) for call in calls]


def test_calls_that_were_queued_while_the_backend_did_not_respond_do_not_wait_for_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, asked = BlockedCounters(), []
    counters = GroupedCounters(backend)  # type: ignore[arg-type]  # refund() and others are not called

    def time_out(*spends: object) -> SpendResult:
        asked.append(spends)
        backend.is_called.set()
        assert backend.may_continue.wait(10)
        raise CountersUnavailable("no response")

    monkeypatch.setattr(backend, "spend", time_out)
    monkeypatch.setattr(backend, "spend_all", time_out)
    failures = failures_of_four_calls(backend, counters)

    assert [type(failure) for failure in failures] == [CountersUnavailable] * 4
    assert len(asked) == 1


def test_a_thread_that_is_stopped_during_a_group_with_a_key_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = BlockedCounters()
    counters = GroupedCounters(backend)  # type: ignore[arg-type]  # refund() and others are not called

    def stop(_: Sequence[Spend]) -> list[SpendResult]:
        raise Stopped

    monkeypatch.setattr(backend, "spend_all", stop)
    failures = failures_of_four_calls(backend, counters)

    assert [type(failure) for failure in failures] == [type(None), Stopped, CountersUnavailable, CountersUnavailable]
    assert spend(counters, "next") == (True, NOW)
