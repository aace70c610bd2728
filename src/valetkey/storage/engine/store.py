"""The store, access to the database: one read connection per thread, concurrent write transactions in one commit."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .statement import BoundStatement
from .transaction import StoreBusy, StoreTimeout, StoreUnavailable, Transaction

_MAX_TRANSACTIONS_PER_COMMIT = 64
BUSY_TIMEOUT_S = 2.0  # maximum time that a caller waits for a busy database, however many others wait
_MIN_TIMEOUT_S = 0.05  # a transaction with less time left than this is not tried again
Row = tuple[Any, ...]


class Connection(Protocol):
    """A database connection. Every method raises ``StoreUnavailable`` if the database does not respond."""

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        """Run a query and return its rows."""
        ...

    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float) -> list[bool]:
        """Run several transactions in one durable commit and return, for each, whether its condition was met.

        A transaction's condition is met if its SQL statement changed exactly one row, or if it has no condition.

        :param timeout_s: maximum time to wait for locks of other transactions, in seconds.
        :raises StoreBusy: if a lock is not released within ``timeout_s``.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Driver(Protocol):
    """A database driver; ``dialect`` is the name of the SQL dialect, ``sqlite`` or ``postgresql``."""

    dialect: str

    def connect(self) -> Connection:
        """Open a connection.

        :raises StoreUnavailable: if the database cannot be reached or opened.
        """
        ...


class _PendingTransaction:
    """A transaction that waits in the queue to be committed.

    Its thread waits until the transaction is settled, or until the thread becomes the leader: the one thread
    that commits the queue.
    """

    __slots__ = ("_wake_lock", "condition_met", "deadline", "failure", "is_leader", "is_settled", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.deadline = time.monotonic() + BUSY_TIMEOUT_S
        self.condition_met = False
        self.failure: BaseException | None = None
        self.is_settled = self.is_leader = False
        self._wake_lock = threading.Lock()
        self._wake_lock.acquire()

    def wait(self) -> None:
        """Block until ``make_leader`` or ``settle`` is called."""
        self._wake_lock.acquire()

    def make_leader(self) -> None:
        """Wake the waiting thread up and make it the leader, the thread that commits the queue."""
        self.is_leader = True
        self._wake_lock.release()

    def settle(self, condition_met: bool, failure: BaseException | None = None) -> None:
        """Wake the waiting thread up with its transaction's result: whether the condition was met, or the error."""
        self.condition_met, self.failure, self.is_settled = condition_met, failure, True
        self._wake_lock.release()


class Store:
    """Access to the database: runs queries and write transactions.

    It is thread-safe and fork-safe: a forked child opens its own connections.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._reset()
        weak = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _call_if_exists(weak, Store._pin_connections),
            after_in_child=lambda: _call_if_exists(weak, Store._reset),
        )

    def _reset(self) -> None:
        self._local = threading.local()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer: Connection | None = None
        self._queue_lock = threading.Lock()
        self._has_leader = False  # whether a thread commits the queue, or has been woken up to do so
        self._queue: list[_PendingTransaction] = []

    def _pin_connections(self) -> None:
        # If the child garbage-collected the parent's connections, it would end the sessions on the parent's sockets.
        self._pinned_connections = list(self._connections)

    @property
    def dialect(self) -> str:
        """Name of the SQL dialect: ``sqlite`` or ``postgresql``."""
        return self._driver.dialect

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        """Run a query and return its rows.

        :raises StoreUnavailable: if the database does not respond.
        """
        try:
            connection: Connection = self._local.connection
        except AttributeError:
            connection = self._open_reader()
        try:
            return connection.fetch_all(statement)
        except (StoreBusy, StoreTimeout):
            raise
        except StoreUnavailable:
            del self._local.connection
            connection.close()
            return self._open_reader().fetch_all(statement)  # one retry: the server may have been restarted

    def fetch_one(self, statement: BoundStatement) -> Row | None:
        """Run a query and return its first row, or ``None`` if it has no rows.

        :raises StoreUnavailable: if the database does not respond.
        """
        rows = self.fetch_all(statement)
        return rows[0] if rows else None

    def write(self, transaction: Transaction) -> bool:
        """Run a write transaction and return whether its condition was met. The commit is durable when this returns.

        The condition is met if its SQL statement changed exactly one row, or if the transaction has none.

        One thread at a time, the leader, commits the transactions of all waiting threads together: on a disk that
        needs 0.25 ms per commit, 16 writes cost little more than one. The other threads sleep until their own
        transaction is settled.

        :raises StoreUnavailable: if the database does not respond; it is unknown then whether the transaction was
            written.
        :raises StoreBusy: if the database is locked by others for longer than ``BUSY_TIMEOUT_S``; nothing was written.
        """
        pending = _PendingTransaction(transaction)
        with self._queue_lock:
            self._queue.append(pending)
            pending.is_leader, self._has_leader = not self._has_leader, True
        if not pending.is_leader:
            pending.wait()
        if pending.is_leader:
            self._run_as_leader(pending)
        if pending.failure is not None:
            raise pending.failure
        return pending.condition_met

    def close_reader(self) -> None:
        """Close this thread's read connection; call it before the thread ends."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all connections. The store opens new ones if it is used again."""
        for connection in list(self._connections):
            connection.close()
        self._reset()

    def _run_as_leader(self, pending: _PendingTransaction) -> None:
        """Commit queued transactions until the given one is settled; then let the next thread in the queue continue."""
        try:
            while not pending.is_settled:
                self._commit_next_batch()
        finally:
            with self._queue_lock:
                self._has_leader = bool(self._queue)
                if self._queue:
                    self._queue[0].make_leader()

    def _commit_next_batch(self) -> None:
        with self._queue_lock:
            batch, self._queue = self._queue[:_MAX_TRANSACTIONS_PER_COMMIT], self._queue[_MAX_TRANSACTIONS_PER_COMMIT:]
        try:
            self._commit_batch(batch)
        except BaseException:  # the thread is being stopped: release the threads that wait for this batch
            for pending in batch:
                if not pending.is_settled:
                    pending.settle(False, StoreUnavailable("the server is stopping"))
            raise

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
                    pending.settle(False, failure)
                return
            for pending in batch:
                self._commit_batch([pending])
        else:
            for pending, condition_met in zip(batch, results, strict=True):
                pending.settle(condition_met)

    def _requeue_or_reject(self, batch: Sequence[_PendingTransaction], error: StoreBusy) -> None:
        """Reject the transactions whose deadline has passed, since the database is busy, and queue the others again."""
        earliest = time.monotonic() + _MIN_TIMEOUT_S
        requeued = [pending for pending in batch if pending.deadline > earliest]
        with self._queue_lock:
            self._queue[:0] = requeued
        for pending in batch:
            if pending.deadline <= earliest:
                pending.settle(False, error)

    def _run_batch(self, batch: Sequence[_PendingTransaction]) -> list[bool]:
        if self._writer is None:
            self._writer = self._connect_or_reject_queue(batch)
        timeout_s = min(pending.deadline for pending in batch) - time.monotonic()
        try:
            return self._writer.run_transactions(
                [pending.transaction for pending in batch], max(_MIN_TIMEOUT_S, timeout_s)
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
            with self._queue_lock:
                queued, self._queue = self._queue, []
            for pending in queued:
                pending.settle(False, failure)
            raise

    def _open_reader(self) -> Connection:
        self._local.connection = connection = self._connect()
        return connection

    def _connect(self) -> Connection:
        connection = self._driver.connect()
        self._connections.add(connection)
        return connection


def _call_if_exists(store_ref: weakref.ref[Store], method: Callable[[Store], None]) -> None:
    store = store_ref()
    if store is not None:
        method(store)
