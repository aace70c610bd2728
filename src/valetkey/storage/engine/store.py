"""The store: reads on a connection per thread, writes of overlapping requests in one commit."""

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
BUSY_TIMEOUT_S = 2.0  # so long anybody waits for a busy store, whatever others wait for
_MIN_TIMEOUT_S = 0.05  # seconds in which nothing more is worth trying
Row = tuple[Any, ...]


class Connection(Protocol):
    """One driver's connection; every method raises ``StoreUnavailable`` where the database does not answer."""

    def fetch_all(self, statement: BoundStatement) -> list[Row]: ...
    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float) -> list[bool]:
        """Run the writes in one durable transaction and say, for each, whether its claim was won.

        :raises StoreBusy: where others hold the store for longer than ``patience`` seconds.
        """
        ...

    def close(self) -> None: ...


class Driver(Protocol):
    dialect: str

    def connect(self) -> Connection: ...


class _PendingTransaction:
    """A write that waits: until it is settled, or its thread is the next to commit."""

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
        self._wake_lock.acquire()

    def make_leader(self) -> None:
        self.is_leader = True
        self._wake_lock.release()

    def settle(self, condition_met: bool, failure: BaseException | None = None) -> None:
        self.condition_met, self.failure, self.is_settled = condition_met, failure, True
        self._wake_lock.release()


class Store:
    """Reads and writes; safe for threads, and for forks (a child opens connections of its own)."""

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
        self._has_leader = False  # whether a thread commits, or was told to
        self._queue: list[_PendingTransaction] = []

    def _pin_connections(self) -> None:
        # A child that collected the parent's connections would say goodbye on the parent's sockets.
        self._pinned_connections = list(self._connections)

    @property
    def dialect(self) -> str:
        return self._driver.dialect

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        """The rows of a query.

        :raises StoreUnavailable: where the database does not answer.
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
            return self._open_reader().fetch_all(statement)  # once: the connection may have been the old server's

    def fetch_one(self, statement: BoundStatement) -> Row | None:
        rows = self.fetch_all(statement)
        return rows[0] if rows else None

    def write(self, transaction: Transaction) -> bool:
        """Whether the claim was won; when this returns, what was written is durable.

        One thread at a time commits what all waiting threads brought: on a disk that needs 0.25 ms for each
        commit, 16 writes cost little more than one. The others sleep, each until its own write is settled.

        :raises StoreUnavailable: where nothing was written.
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
        """Close this thread's own connection: the thread is about to end."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()
        self._reset()

    def _run_as_leader(self, pending: _PendingTransaction) -> None:
        """Commit until one's own write is settled, then leave it to the next."""
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
        except BaseException:  # this thread is told to end: nobody may wait for it
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
            # Where the store is at fault, nobody knows what was written, or has time to try again. Where one of
            # the writes is, nothing was: each is run on its own, so that the others get through.
            if len(batch) == 1 or isinstance(failure, StoreUnavailable):
                for pending in batch:
                    pending.settle(False, failure)
                return
            for pending in batch:
                self._commit_batch([pending])
        else:
            for pending, won in zip(batch, results, strict=True):
                pending.settle(won)

    def _requeue_or_reject(self, batch: Sequence[_PendingTransaction], error: StoreBusy) -> None:
        """Refuse those who have waited long enough; the others, who came later, wait on."""
        now = time.monotonic() + _MIN_TIMEOUT_S
        patient = [pending for pending in batch if pending.deadline > now]
        with self._queue_lock:
            self._queue[:0] = patient
        for pending in batch:
            if pending.deadline <= now:
                pending.settle(False, error)

    def _run_batch(self, batch: Sequence[_PendingTransaction]) -> list[bool]:
        if self._writer is None:
            self._writer = self._connect_or_reject_queue(batch)
        patience = min(pending.deadline for pending in batch) - time.monotonic()
        try:
            return self._writer.run_transactions(
                [pending.transaction for pending in batch], max(_MIN_TIMEOUT_S, patience)
            )
        except StoreBusy:
            raise
        except StoreUnavailable:
            self._writer.close()
            self._writer = None
            raise

    def _connect_or_reject_queue(self, batch: Sequence[_PendingTransaction]) -> Connection:
        """A connection; where there is none to be had, whoever came meanwhile has waited for it too."""
        try:
            return self._connect()
        except StoreUnavailable as failure:
            with self._queue_lock:
                waiting, self._queue = self._queue, []
            for pending in waiting:
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
