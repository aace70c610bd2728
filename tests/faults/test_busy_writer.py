"""A caller waits for a busy database no longer than the busy timeout, however many other callers wait."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.store_assertions import count_rows
from valetkey.activity.audit import audit_statement
from valetkey.storage.engine import store as store_module
from valetkey.storage.engine.connection import Row
from valetkey.storage.engine.open import open_store, sqlite_path
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable, Transaction


class FailingDriver:
    """A driver and its connection. Each attempt to write fails as soon as the test sets ``may_fail``."""

    dialect = "sqlite"
    closes_before_fork = False

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.may_fail = threading.Event()

    def connect(self) -> FailingDriver:
        return self

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        raise StoreUnavailable("busy")

    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float, clock: object) -> list[bool]:
        self.attempts.append(len(transactions))
        self.may_fail.wait(10)
        raise StoreUnavailable("gone")

    def close(self) -> None:
        pass


def test_waiting_writers_share_one_failed_attempt() -> None:
    """An attempt may take 2 s if the database is gone: eight attempts, one after the other, would take 16 s."""
    driver = FailingDriver()
    store = Store(driver)

    def write(_: int) -> None:
        with pytest.raises(StoreUnavailable):
            store.write(Transaction())

    with ThreadPoolExecutor(8) as writers:
        first = writers.submit(write, 0)
        while not driver.attempts:
            time.sleep(0.001)
        others = [writers.submit(write, number) for number in range(1, 8)]
        while len(store._queue._items) < 7:
            time.sleep(0.001)
        driver.may_fail.set()
        for future in (first, *others):
            future.result(10)
    assert driver.attempts == [1, 7]


BUSY_TIMEOUT_S = 0.6  # instead of 2


class LockedStore:
    """A store whose database is locked by another connection until ``release``."""

    def __init__(self, url: str) -> None:
        self.store = open_store(url)
        path = sqlite_path(url)
        if path:
            self._other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._other.execute("BEGIN IMMEDIATE")
        else:
            self._other = psycopg.connect(url)
            self._other.execute("LOCK TABLE valetkey_audit")

    def release(self) -> None:
        self._other.rollback()

    def write(self) -> tuple[float, bool]:
        """Write an audit event. Return how many seconds this took, and whether it was written."""
        began_at = time.monotonic()
        try:
            self.store.write(Transaction(rows=(audit_statement("token.revoked", 1.0),)))
            written = True
        except StoreBusy:
            written = False
        return time.monotonic() - began_at, written

    def close(self) -> None:
        self._other.close()
        self.store.close()


@pytest.fixture
def locked_store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LockedStore]:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", BUSY_TIMEOUT_S)
    locked_store = LockedStore(store_url)
    yield locked_store
    locked_store.close()


def test_each_of_many_writers_waits_as_long_as_a_single_writer(locked_store: LockedStore) -> None:
    """Without a deadline per writer, the second batch would start to wait when the first has failed: twice as long."""
    with ThreadPoolExecutor(8) as writers:
        futures = []
        for _ in range(8):
            futures.append(writers.submit(locked_store.write))
            time.sleep(BUSY_TIMEOUT_S / 10)  # the others arrive while the first waits
        results = [future.result(20) for future in futures]

    assert not any(written for _, written in results)
    assert max(seconds for seconds, _ in results) < BUSY_TIMEOUT_S * 1.5
    assert min(seconds for seconds, _ in results) > BUSY_TIMEOUT_S * 0.8


def test_a_later_writer_succeeds_if_the_lock_is_released_before_its_own_deadline(locked_store: LockedStore) -> None:
    with ThreadPoolExecutor(2) as writers:
        first = writers.submit(locked_store.write)
        time.sleep(BUSY_TIMEOUT_S / 2)
        second = writers.submit(locked_store.write)
        assert first.result(20)[1] is False
        locked_store.release()
        assert second.result(20)[1] is True
    assert count_rows(locked_store.store, "valetkey_audit") == 1


def test_the_next_write_after_a_busy_timeout_waits_for_the_full_timeout_again(locked_store: LockedStore) -> None:
    locked_store.write()
    with ThreadPoolExecutor(1) as writers:
        second = writers.submit(locked_store.write)
        time.sleep(BUSY_TIMEOUT_S / 2)
        locked_store.release()
        assert second.result(20)[1] is True
