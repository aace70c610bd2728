"""Nobody waits for a busy store longer than a writer alone would, however many wait."""

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
from valetkey.storage.engine import store as storing
from valetkey.storage.engine.open import open_store, sqlite_path
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Row, Store
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable, Transaction


class Busy:
    """A driver and its connection; each attempt to write fails once the test lets it."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.may_fail = threading.Event()

    def connect(self) -> Busy:
        return self

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        raise StoreUnavailable("busy")

    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float) -> list[bool]:
        self.attempts.append(len(transactions))
        self.may_fail.wait(10)
        raise StoreUnavailable("gone")

    def close(self) -> None:
        pass


def test_no_writer_waits_for_the_attempts_of_all_the_others() -> None:
    """Each attempt may last 2 s where a database is gone: eight, one after the other, would be a hang."""
    driver = Busy()
    store = Store(driver)

    def refused(_: int) -> None:
        with pytest.raises(StoreUnavailable):
            store.write(Transaction())

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


PATIENCE = 0.6  # seconds, instead of 2


class Held:
    """A store whose database somebody else holds."""

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

    def seconds(self) -> tuple[float, bool]:
        """How long one write took, and whether it was written."""
        began = time.monotonic()
        try:
            self.store.write(Transaction(rows=(audit_statement("token.revoked", 1.0),)))
            written = True
        except StoreBusy:
            written = False
        return time.monotonic() - began, written

    def close(self) -> None:
        self._other.close()
        self.store.close()


@pytest.fixture
def held(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(storing, "BUSY_TIMEOUT_S", PATIENCE)
    held = Held(store_url)
    yield held
    held.close()


def test_each_of_many_waits_as_long_as_one_alone(held: Held) -> None:
    """Without the deadlines the second batch begins to wait when the first has ended: twice as long."""
    with ThreadPoolExecutor(8) as crowd:
        told = []
        for _ in range(8):
            told.append(crowd.submit(held.seconds))
            time.sleep(PATIENCE / 10)  # they come one after the other, while the first waits
        waited = [one.result(20) for one in told]

    assert not any(written for _, written in waited)
    assert max(seconds for seconds, _ in waited) < PATIENCE * 1.5
    assert min(seconds for seconds, _ in waited) > PATIENCE * 0.8


def test_who_came_later_gets_through_when_the_store_is_free_in_time(held: Held) -> None:
    with ThreadPoolExecutor(2) as crowd:
        first = crowd.submit(held.seconds)
        time.sleep(PATIENCE / 2)
        second = crowd.submit(held.seconds)
        assert first.result(20)[1] is False
        held.release()
        assert second.result(20)[1] is True
    assert count_rows(held.store, "valetkey_audit") == 1


def test_a_store_that_was_busy_has_its_patience_again(held: Held) -> None:
    held.seconds()
    with ThreadPoolExecutor(1) as crowd:
        again = crowd.submit(held.seconds)
        time.sleep(PATIENCE / 2)
        held.release()
        assert again.result(20)[1] is True
