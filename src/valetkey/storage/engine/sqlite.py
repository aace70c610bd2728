"""SQLite: WAL, synchronous FULL, one writer at a time (https://www.sqlite.org/wal.html)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from .statement import Bound, text_and_values
from .store import BUSY_SECONDS, Row
from .transaction import StoreBusy, StoreUnavailable, Write


class SqliteDriver:
    dialect = "sqlite"

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self.path = path
        self._synchronous = synchronous

    def connect(self) -> SqliteConnection:
        try:
            raw = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as cause:
            raise _told(cause, self.path) from cause
        try:
            _use_wal(raw)
            raw.execute(f"PRAGMA synchronous = {self._synchronous}")
            raw.execute("PRAGMA cache_size = -2000")
        except sqlite3.Error as cause:
            raw.close()
            raise _told(cause, self.path) from cause
        return SqliteConnection(raw, self.path)


def _use_wal(raw: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for its timeout here when several processes open a new file at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as busy:
            if "locked" not in str(busy) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class SqliteConnection:
    def __init__(self, raw: sqlite3.Connection, path: Path) -> None:
        self.raw = raw
        self._path = path
        self._patience = BUSY_SECONDS

    def rows(self, bound: Bound) -> list[Row]:
        sql, values = text_and_values(bound, "sqlite")
        try:
            return self.raw.execute(sql, values).fetchall()  # to the end: an open cursor pins a snapshot
        except sqlite3.Error as cause:
            raise _told(cause, self._path) from cause

    def run_all(self, writes: Sequence[Write], patience: float) -> list[bool]:
        try:
            self._wait_at_most(patience)
            self.raw.execute("BEGIN IMMEDIATE")
            won = [self._run(write) for write in writes]
            self.raw.execute("COMMIT")
        except BaseException as cause:
            self._roll_back()
            if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.IntegrityError):
                raise _told(cause, self._path) from cause
            raise
        return won

    def _run(self, write: Write) -> bool:
        won = write.claim is None or self._touched(write.claim) == 1
        for bound in write.rows if won else write.otherwise:
            self._touched(bound)
        return won

    def _touched(self, bound: Bound) -> int:
        return self.raw.execute(*text_and_values(bound, "sqlite")).rowcount

    def _wait_at_most(self, patience: float) -> None:
        if abs(patience - self._patience) > 0.1:  # not at each write: it is another statement
            self.raw.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            self._patience = patience

    def _roll_back(self) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        self.raw.close()


def _told(cause: sqlite3.Error, path: Path) -> StoreUnavailable:
    text = str(cause)
    if "locked" in text or "busy" in text:
        return StoreBusy(f"the database {path} is busy")
    if "readonly" in text or "unable to open" in text:
        return StoreUnavailable(f"the database {path} cannot be written: check the folder's permissions and free space")
    if "no such table" in text:
        return StoreUnavailable(f"the database {path} has no tables yet: run `valetkey init`")
    return StoreUnavailable(f"the database {path} failed: {text}")
