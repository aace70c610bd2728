"""SQLite driver: write-ahead log (WAL), ``synchronous = FULL``, one writer at a time.

See https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from .statement import BoundStatement, sql_and_values
from .store import BUSY_TIMEOUT_S, Row
from .transaction import StoreBusy, StoreUnavailable, Transaction


class SqliteDriver:
    """Driver for SQLite: opens connections to one database file.

    :param synchronous: value of ``PRAGMA synchronous``; ``OFF`` can lose the last commits in a power failure.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self.path = path
        self._synchronous = synchronous

    def connect(self) -> SqliteConnection:
        """Open a connection; a missing file is created.

        :raises StoreUnavailable: if the file cannot be opened.
        """
        try:
            raw = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as cause:
            raise _to_store_error(cause, self.path) from cause
        try:
            _enable_wal(raw)
            raw.execute(f"PRAGMA synchronous = {self._synchronous}")
            raw.execute("PRAGMA cache_size = -2000")
        except sqlite3.Error as cause:
            raw.close()
            raise _to_store_error(cause, self.path) from cause
        return SqliteConnection(raw, self.path)


def _enable_wal(raw: sqlite3.Connection) -> None:
    """Switch the database to write-ahead logging (WAL); try again for up to 2 seconds while the file is locked.

    SQLite's busy timeout has no effect here if several processes open a new file at once.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as busy:
            if "locked" not in str(busy) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class SqliteConnection:
    """A SQLite connection with the methods of the protocol ``Connection``."""

    def __init__(self, raw: sqlite3.Connection, path: Path) -> None:
        self.raw = raw
        self._path = path
        self._busy_timeout_s = BUSY_TIMEOUT_S

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        sql, values = sql_and_values(statement, "sqlite")
        try:
            return self.raw.execute(sql, values).fetchall()  # all rows: an open cursor would keep the snapshot open
        except sqlite3.Error as cause:
            raise _to_store_error(cause, self._path) from cause

    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float) -> list[bool]:
        try:
            self._set_busy_timeout(timeout_s)
            self.raw.execute("BEGIN IMMEDIATE")
            results = [self._run_transaction(transaction) for transaction in transactions]
            self.raw.execute("COMMIT")
        except BaseException as cause:
            self._roll_back()
            if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.IntegrityError):
                raise _to_store_error(cause, self._path) from cause
            raise
        return results

    def _run_transaction(self, transaction: Transaction) -> bool:
        condition_met = transaction.condition is None or self._execute(transaction.condition) == 1
        for statement in transaction.rows if condition_met else transaction.else_rows:
            self._execute(statement)
        return condition_met

    def _execute(self, statement: BoundStatement) -> int:
        return self.raw.execute(*sql_and_values(statement, "sqlite")).rowcount

    def _set_busy_timeout(self, timeout_s: float) -> None:
        if abs(timeout_s - self._busy_timeout_s) > 0.1:  # not for every write, as it costs another statement
            self.raw.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
            self._busy_timeout_s = timeout_s

    def _roll_back(self) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        self.raw.close()


def _to_store_error(cause: sqlite3.Error, path: Path) -> StoreUnavailable:
    """Return the exception to raise for a SQLite error; its message names the database file."""
    text = str(cause)
    if "locked" in text or "busy" in text:
        return StoreBusy(f"the database {path} is busy")
    if "readonly" in text or "unable to open" in text:
        return StoreUnavailable(f"the database {path} cannot be written: check the folder's permissions and free space")
    if "no such table" in text:
        return StoreUnavailable(f"the database {path} has no tables yet: run `valetkey init`")
    return StoreUnavailable(f"the database {path} failed: {text}")
