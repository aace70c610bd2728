"""The clock that follows the database server's: the first calls of a process, and calls during an outage."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.clock import NOW, Clock
from valetkey.storage.engine.clock import StoreClock
from valetkey.storage.engine.transaction import StoreUnavailable


class SlowDatabase:
    """A database server whose clock shows ``NOW``, and which responds when the test says so."""

    def __init__(self) -> None:
        self.is_asked, self.may_respond = threading.Event(), threading.Event()
        self.is_down = False
        self.queries = 0

    def fetch_one(self, _: object) -> tuple[float]:
        self.queries += 1
        self.is_asked.set()
        assert self.may_respond.wait(10)
        if self.is_down:
            raise StoreUnavailable("down")
        return (NOW,)


@pytest.fixture
def database() -> SlowDatabase:
    return SlowDatabase()


def open_clock(database: Any, local_clock: Clock) -> StoreClock:
    return StoreClock(database, local_clock)


def test_the_first_concurrent_calls_wait_for_the_first_measurement(database: SlowDatabase) -> None:
    clock = open_clock(database, Clock(NOW + 50))
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(clock) for _ in range(8)]
        assert database.is_asked.wait(10)
        with pytest.raises(TimeoutError):
            calls[-1].result(0.2)
        database.may_respond.set()

        assert [call.result(10) for call in calls] == [NOW] * 8
    assert database.queries == 1


def test_after_an_outage_at_the_start_the_offset_is_measured_within_a_second(database: SlowDatabase) -> None:
    local_clock = Clock(NOW + 50)
    clock = open_clock(database, local_clock)
    database.may_respond.set()
    database.is_down = True
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: clock(), range(8))) == {NOW + 50}
    assert database.queries == 1, "callers do not wait for the database one after the other"

    database.is_down = False
    local_clock.forward(1)
    assert clock() == NOW


def test_later_measurements_keep_nobody_waiting_but_one(database: SlowDatabase) -> None:
    local_clock = Clock(NOW + 50)
    clock = open_clock(database, local_clock)
    database.may_respond.set()
    assert clock() == NOW
    local_clock.forward(61)
    database.may_respond.clear()
    database.is_asked.clear()

    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(clock)
        assert database.is_asked.wait(10)
        assert clock() == NOW + 61
        database.may_respond.set()
        assert measuring.result(10) == NOW
    local_clock.forward(59)
    assert clock() == NOW + 59
    assert database.queries == 2
