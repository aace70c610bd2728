"""SQLite driver: write-ahead log (WAL), ``synchronous = FULL``, one writer at a time.

See https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .connection import BUSY_TIMEOUT_S, STATEMENT_TIMEOUT_S, Connection, Row
from .files import file_exists, new_private_file, place_new_file, resolve_links, restrict_to_owner
from .statement import BoundStatement, sql_and_values
from .transaction import SCHEMA_VERSION_TABLE, DatabaseMissing, NoTables, StoreBusy, StoreUnavailable, Transaction
from .use_lock import UseLock, exclusive_lock

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FIND_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_NOT_WRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL})


class SqliteDriver:
    """Driver for SQLite: opens connections to one database file.

    From the first connection until ``close``, it holds the lock that keeps the database from being restored.

    :param synchronous: value of ``PRAGMA synchronous``; ``OFF`` can lose the last commits in a power failure.
    """

    dialect = "sqlite"
    statement_timeout_s = STATEMENT_TIMEOUT_S  # of no effect: SQLite has none
    # A child inherits SQLite's record of the locks of an open file, which are the parent's, and has none of them:
    # https://www.sqlite.org/howtocorrupt.html §2.6.
    closes_before_fork = True

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self.path = path
        self._synchronous = synchronous
        self._use_lock: UseLock | None = UseLock(path)
        self._file_id: tuple[int, int] | None = None  # device and inode of the file of the first connection

    def connect(self) -> SqliteConnection:
        """Open a connection to the file, which must exist.

        :raises DatabaseMissing: if the file does not exist.
        :raises StoreUnavailable: if it cannot be opened.
        """
        if self._file_id is None and not file_exists(self.path):
            raise DatabaseMissing(
                f"no database at {self.path}: run `valetkey init`, or correct data_dir or database_url"
            )
        self.check_file()
        if self._use_lock is not None:
            self._use_lock.acquire()
        try:
            raw = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",  # SQLite would create a missing file
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
        except sqlite3.Error as cause:
            raise _to_store_error(cause, self.path) from cause
        try:
            _enable_wal(raw)
            raw.execute(f"PRAGMA synchronous = {self._synchronous}")
            raw.execute("PRAGMA cache_size = -1000")
        except sqlite3.Error as cause:
            raw.close()
            raise _to_store_error(cause, self.path) from cause
        return SqliteConnection(raw, self.path, self.check_file)

    def check_file(self) -> None:
        """Check that the path still leads to the file of the first connection.

        Other connections would write to a moved or deleted file, or some to that and some to its replacement.

        :raises StoreUnavailable: if it does not.
        """
        file_id = _find_file_id(self.path)
        if self._file_id is None:
            self._file_id = file_id
        elif file_id != self._file_id:
            error = StoreUnavailable(
                f"the database file {self.path} was moved, deleted or replaced while it is in use, and what is written "
                "would be lost: stop all servers, and put the file back, with the files whose names begin with its name"
            )
            error.may_be_written = False
            raise error

    def close(self, connections: Iterable[Connection]) -> None:
        """Close all connections of this process, and release the lock. The file may be replaced then.

        The last connection to a database writes the write-ahead log into its file and deletes the log. If two processes
        closed theirs at once, each would leave that to the other.
        """
        with contextlib.ExitStack() as stack:
            connections = list(connections)
            if self._use_lock is not None and connections:
                with contextlib.suppress(OSError):
                    stack.enter_context(exclusive_lock(self.path))
            for connection in connections:
                connection.close()
            self._file_id = None
            if self._use_lock is not None:
                self._use_lock.release()


class SqliteCounterDriver(SqliteDriver):
    """Driver for the SQLite file of rate limit counters: creates a missing file and does not sync writes to disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, synchronous="OFF")
        self._use_lock = None  # counters are not restored

    def connect(self) -> SqliteConnection:
        """Open a connection; a missing file is created, so that only its owner can read it.

        :raises StoreUnavailable: if the file cannot be created or opened.
        """
        make_private(self.path)
        return super().connect()

    def check_file(self) -> None:
        """Allow that the file is deleted: the next connection creates a new one."""


def make_private(path: Path, like: Path | None = None) -> None:
    """Make a database file and SQLite's files beside it readable by their owner only; a missing database is created.

    The new file is empty, which is a database without tables for SQLite.

    The path of a database must never be opened except by SQLite: when a process closes any file descriptor of a file,
    it loses all locks that SQLite has on that file (https://www.sqlite.org/howtocorrupt.html §2.2). So the new file is
    created under another name.

    :param path: path of the database, or a symbolic link to it.
    :param like: file whose owner a database that root creates gets; by default, the folder.
    :raises StoreUnavailable: if the file cannot be created.
    """
    path = resolve_links(path)  # SQLite would create a missing file behind a link, readable by all users
    if file_exists(path):
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            with contextlib.suppress(FileNotFoundError, PermissionError):  # another user's file is that user's affair
                restrict_to_owner(file)
        return
    try:
        with new_private_file(path, like=like) as new_file, contextlib.suppress(FileExistsError):
            place_new_file(new_file, path)  # another process may have created it meanwhile
    except OSError as cause:
        raise StoreUnavailable(
            f"the folder {path.parent} cannot be written ({cause.strerror}): "
            "run this as the user of the server, or set data_dir or database_url to another one"
        ) from cause


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
            if not _is_busy(busy) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class SqliteConnection:
    """A SQLite connection with the methods of the protocol ``Connection``."""

    def __init__(self, raw: sqlite3.Connection, path: Path, check_file: Callable[[], None]) -> None:
        self.raw = raw
        self._path = path
        self._check_file = check_file
        self._busy_timeout_s = BUSY_TIMEOUT_S
        # Of a store that was not closed. Not __del__: if the store is garbage with cycles, Python may finalize its own
        # connection object first, which warns that the connection is still open.
        weakref.finalize(self, raw.close).atexit = False

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        sql, values = sql_and_values(statement, "sqlite", time.time)
        try:
            return self.raw.execute(sql, values).fetchall()  # all rows: an open cursor would keep the snapshot open
        except sqlite3.Error as cause:
            raise self._to_store_error(cause) from cause

    def run_transactions(
        self, transactions: Sequence[Transaction], timeout_s: float, clock: Callable[[], float]
    ) -> list[bool]:
        self._check_file()
        try:
            self._set_busy_timeout(timeout_s)
            self.raw.execute("BEGIN IMMEDIATE")
            results = [self._run_transaction(transaction, clock) for transaction in transactions]
            self.raw.execute("COMMIT")
        except BaseException as cause:
            self._roll_back()
            if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.IntegrityError):
                error = self._to_store_error(cause)
                error.may_be_written = False
                raise error from cause
            raise
        return results

    def _run_transaction(self, transaction: Transaction, clock: Callable[[], float]) -> bool:
        condition_met = transaction.condition is None or self._execute(transaction.condition, clock) == 1
        for statement in transaction.rows if condition_met else transaction.else_rows:
            self._execute(statement, clock)
        return condition_met

    def _execute(self, statement: BoundStatement, clock: Callable[[], float]) -> int:
        return self.raw.execute(*sql_and_values(statement, "sqlite", clock)).rowcount

    def _set_busy_timeout(self, timeout_s: float) -> None:
        if abs(timeout_s - self._busy_timeout_s) > 0.1:  # not for every write, as it costs another statement
            self.raw.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
            self._busy_timeout_s = timeout_s

    def _roll_back(self) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def _to_store_error(self, cause: sqlite3.Error) -> StoreUnavailable:
        """Return the exception to raise for an error of a statement.

        A missing table has no error code of its own, only that of all errors in a statement.
        """
        if _primary_code(cause) == sqlite3.SQLITE_ERROR and not self._has_schema():
            return NoTables(f"the database {self._path} has no tables yet: run `valetkey init`")
        return _to_store_error(cause, self._path)

    def _has_schema(self) -> bool:
        """Return whether the database has Valetkey's tables; true if it cannot be read now."""
        try:
            return self.raw.execute(_FIND_TABLE, (SCHEMA_VERSION_TABLE,)).fetchone() is not None
        except sqlite3.Error:
            return True

    def close(self) -> None:
        self.raw.close()


def _find_file_id(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; ``None`` if there is none, or if its folder cannot be read now."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _to_store_error(cause: sqlite3.Error, path: Path) -> StoreUnavailable:
    """Return the exception to raise for a SQLite error; its message names the database file."""
    if _is_busy(cause):
        return StoreBusy(f"the database {path} is busy")
    if _primary_code(cause) in _NOT_WRITABLE:
        return StoreUnavailable(f"the database {path} cannot be written: check the folder's permissions and free space")
    return StoreUnavailable(f"the database {path} failed: {cause}")


def _is_busy(cause: sqlite3.Error) -> bool:
    return _primary_code(cause) in _BUSY


def _primary_code(cause: sqlite3.Error) -> int:
    """Return SQLite's primary result code (https://www.sqlite.org/rescode.html); 0 for an error of Python's module."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF
