"""Writers who wait together for a store that is busy are refused together."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from valetkey.storage.statement import Bound
from valetkey.storage.store import Row, Store
from valetkey.storage.write import StoreUnavailable, Write


class Busy:
    """A driver and its connection; each attempt to write fails once the test lets it."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.may_fail = threading.Event()

    def connect(self) -> Busy:
        return self

    def rows(self, bound: Bound) -> list[Row]:
        raise StoreUnavailable("busy")

    def run_all(self, writes: Sequence[Write]) -> list[bool]:
        self.attempts.append(len(writes))
        self.may_fail.wait(10)
        raise StoreUnavailable("busy")

    def close(self) -> None:
        pass


def test_no_writer_waits_for_the_attempts_of_all_the_others() -> None:
    """Each attempt lasts 2 s where SQLite is busy: eight, one after the other, would be a hang."""
    driver = Busy()
    store = Store(driver)

    def refused(_: int) -> None:
        with pytest.raises(StoreUnavailable):
            store.write(Write())

    with ThreadPoolExecutor(8) as crowd:
        first = crowd.submit(refused, 0)
        while not driver.attempts:
            time.sleep(0.001)
        others = [crowd.submit(refused, number) for number in range(1, 8)]
        while len(store._queue) < 7:
            time.sleep(0.001)
        driver.may_fail.set()
        for one in (first, *others):
            one.result(10)
    assert driver.attempts == [1, 7]
