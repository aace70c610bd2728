"""The store, access to the database: a pool of read connections, concurrent write transactions in one commit."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import util
from typing import Any

from .after_fork import call_after_fork, call_around_fork
from .batch_queue import BatchQueue, QueuedItem
from .connection import BUSY_TIMEOUT_S, COMMAND_STATEMENT_TIMEOUT_S, Connection, Driver, Row
from .reader_pool import ReaderPool
from .statement import BoundStatement
from .transaction import ConnectionLost, StoreBusy, StoreUnavailable, Transaction

_MAX_TRANSACTIONS_PER_COMMIT = 64
DEFAULT_MAX_CONNECTIONS = 10  # as in the setting database_connections
_FORK_TIMEOUT_S = 5.0  # maximum time that a fork waits for the threads that use a SQLite database
_log = logging.getLogger("valetkey")
_MIN_TIMEOUT_S = 0.05  # a transaction with less time left than this is not tried again
_FORKED_WHILE_IN_USE = (
    "the process was forked while a thread used the SQLite database for more than %g s: the new process cannot use the "
    "database. Start it again, and do not use Valetkey while the server loads the app"
)
_UNUSABLE = (
    "this process was forked while a thread of its parent used the SQLite database: start this process again, and do "
    "not use Valetkey while the server loads the app"
)


class _PendingTransaction(QueuedItem):
    """A transaction that waits in the queue to be committed."""

    __slots__ = ("condition_met", "deadline", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        super().__init__()
        self.transaction = transaction
        self.deadline = time.monotonic() + BUSY_TIMEOUT_S
        self.condition_met = False


class Store:
    """Access to the database: runs queries and write transactions.

    It is thread-safe and fork-safe: a forked child opens its own connections. Before a fork, those to a SQLite database
    are closed.

    :param max_connections: maximum number of connections of this process, at least 2: one writes, the others read.
    """

    def __init__(self, driver: Driver, max_connections: int = DEFAULT_MAX_CONNECTIONS) -> None:
        self._driver = driver
        self._max_readers = max_connections - 1
        self._is_closed_for_exit = False
        self.clock: Callable[[], float] = time.time  # the time of a write, in seconds since 1970
        # Called after each write, also after one that failed, because it may have been written nevertheless.
        self.after_write: Callable[[Transaction], None] = _do_nothing
        self._reset()
        self._fork_lock = threading.Lock()  # held while this process forks
        self._forking_thread: int | None = None
        self._paused: tuple[ReaderPool, BatchQueue[_PendingTransaction]] | None = None  # while a thread forks
        self._is_open_in_child = False  # whether a child that is forked now inherits an open SQLite database
        self._is_unusable = False
        call_around_fork(self._prepare_for_fork, self._resume_after_fork)
        call_after_fork(self._reset_in_child)

    def _reset(self) -> None:
        self._readers = ReaderPool(self._max_readers)
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer: Connection | None = None
        self._queue = BatchQueue(self._commit_batch, _MAX_TRANSACTIONS_PER_COMMIT, StoreUnavailable)
        self._closes_at_exit = False

    def _prepare_for_fork(self) -> None:
        """Close the connections to a SQLite database: wait for the threads that use them, and keep others waiting."""
        self._fork_lock.acquire()
        self._forking_thread = threading.get_ident()
        if self._driver.closes_before_fork:
            self._paused = self._readers, self._queue
            deadline = time.monotonic() + _FORK_TIMEOUT_S
            are_idle = [part.pause(deadline) for part in self._paused]
            self._is_open_in_child = not all(are_idle)
            if self._is_open_in_child:
                _log.error(_FORKED_WHILE_IN_USE, _FORK_TIMEOUT_S)
            elif self._writer is not None:
                self._writer.close()
                self._writer = None
        # If the child garbage-collected the parent's connections, it would end the sessions on the parent's sockets.
        self._pinned_connections = list(self._connections)

    def _resume_after_fork(self) -> None:
        if self._forking_thread != threading.get_ident():  # the store was created while this thread forked
            return
        self._pinned_connections.clear()
        for part in self._paused or ():
            part.resume()
        self._paused = self._forking_thread = None
        self._fork_lock.release()

    def _reset_in_child(self) -> None:
        self._reset()
        self._fork_lock = threading.Lock()
        self._paused = self._forking_thread = None
        self._is_unusable = self._is_unusable or self._is_open_in_child

    @property
    def dialect(self) -> str:
        """Name of the SQL dialect: ``sqlite`` or ``postgresql``."""
        return self._driver.dialect

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        """Run a query and return its rows.

        :raises StoreUnavailable: if the database does not respond, or all connections are in use for two seconds.
        """
        return self._readers.fetch_all(statement, self._connect)

    def fetch_one(self, statement: BoundStatement) -> Row | None:
        """Run a query and return its first row, or ``None`` if it has no rows.

        :raises StoreUnavailable: if the database does not respond.
        """
        rows = self.fetch_all(statement)
        return rows[0] if rows else None

    def write(self, transaction: Transaction) -> bool:
        """Run a write transaction and return whether its condition was met. The commit is durable when this returns.

        The condition is met if its SQL statement changed exactly one row, or if the transaction has none. If it is not
        met, the ``else_rows`` of the transaction are written instead of its ``rows``.

        If the transaction may revoke something, this process applies the revocation before this method returns, other
        processes when they next poll the database for changes.

        One thread at a time, the leader, commits the transactions of all waiting threads together: on a disk that
        needs 0.25 ms per commit, 16 writes cost little more than one. The other threads sleep until their own
        transaction is settled.

        :raises StoreUnavailable: if the database does not respond; its ``may_be_written`` says whether the transaction
            may have been written nevertheless.
        :raises StoreBusy: if the database is locked by others for longer than ``BUSY_TIMEOUT_S``; nothing was written.
        """
        pending = _PendingTransaction(transaction)
        try:
            self._queue.run(pending)
        finally:
            self.after_write(transaction)
        return pending.condition_met

    def write_all(self, *rows: BoundStatement) -> None:
        """Run statements in one transaction, without a condition.

        :raises StoreUnavailable: as ``write``.
        """
        self.write(Transaction(rows=rows))

    def allow_slow_statements(self) -> None:
        """Let statements run for two minutes, for a command. Open connections are closed."""
        self.close()
        self._driver.statement_timeout_s = COMMAND_STATEMENT_TIMEOUT_S

    def close(self) -> None:
        """Close all connections. The store opens new ones if it is used again."""
        self._driver.close(list(self._connections))
        self._reset()

    def close_for_exit(self) -> None:
        """Close all connections because the process exits. A thread that still uses the store gets an error.

        The last process that closes a SQLite database writes its write-ahead log into the database file.
        """
        self._is_closed_for_exit = True
        self.close()

    def _commit_batch(self, batch: Sequence[_PendingTransaction]) -> None:
        try:
            results = self._run_batch(batch)
        except StoreBusy as busy:
            self._requeue_or_reject(batch, busy)
        except Exception as failure:
            # If the database failed, it is unknown what was written, and there is no time to try again. If one of the
            # transactions failed, nothing was written: each is run on its own, so that the others succeed.
            if len(batch) == 1 or isinstance(failure, StoreUnavailable):
                for pending in batch:
                    pending.settle(failure)
                return
            for pending in batch:
                self._commit_batch([pending])
        else:
            for pending, condition_met in zip(batch, results, strict=True):
                pending.condition_met = condition_met
                pending.settle()

    def _requeue_or_reject(self, batch: Sequence[_PendingTransaction], error: StoreBusy) -> None:
        """Reject the transactions whose deadline has passed, since the database is busy, and queue the others again."""
        earliest = time.monotonic() + _MIN_TIMEOUT_S
        self._queue.requeue([pending for pending in batch if pending.deadline > earliest])
        for pending in batch:
            if pending.deadline <= earliest:
                pending.settle(error)

    def _run_batch(self, batch: Sequence[_PendingTransaction]) -> list[bool]:
        """Run transactions in one commit.

        If the connection was lost before the commit, for example because a firewall closes idle ones, they are run once
        more, with a new connection.
        """
        try:
            return self._run_on_writer(batch)
        except ConnectionLost:
            return self._run_on_writer(batch)

    def _run_on_writer(self, batch: Sequence[_PendingTransaction]) -> list[bool]:
        if self._writer is None:
            self._writer = self._connect_or_reject_queue(batch)
        timeout_s = min(pending.deadline for pending in batch) - time.monotonic()
        try:
            return self._writer.run_transactions(
                [pending.transaction for pending in batch], max(_MIN_TIMEOUT_S, timeout_s), self.clock
            )
        except StoreBusy:
            raise
        except StoreUnavailable:
            self._writer.close()
            self._writer = None
            raise

    def _connect_or_reject_queue(self, batch: Sequence[_PendingTransaction]) -> Connection:
        """Open the write connection.

        If that fails, the transactions that were queued meanwhile fail too, as they have waited for it as well.

        :raises StoreUnavailable: if the database cannot be reached.
        """
        try:
            return self._connect()
        except StoreUnavailable as failure:
            failure.may_be_written = False
            for pending in self._queue.take_all():
                pending.settle(failure)
            raise

    def _connect(self) -> Connection:
        if self._is_closed_for_exit:
            raise StoreUnavailable("the server is stopping")
        if self._is_unusable:
            raise StoreUnavailable(_UNUSABLE)
        if not self._closes_at_exit:
            self._closes_at_exit = True
            # Worker processes exit without atexit handlers, but with multiprocessing's finalizers. After the last
            # writes of the background thread, whose priority is 10.
            util.Finalize(self, _call_if_exists, (weakref.ref(self), Store.close_for_exit), exitpriority=5)
        connection = self._driver.connect()
        self._connections.add(connection)
        return connection


def _call_if_exists(store_ref: weakref.ref[Store], method: Callable[[Store], None]) -> None:
    store = store_ref()
    if store is not None:
        method(store)


def _do_nothing(_: Transaction) -> None:
    """Do nothing after a write."""
