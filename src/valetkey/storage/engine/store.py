"""The store: reads on a connection per thread, writes of overlapping requests in one commit."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .statement import Bound
from .transaction import StoreBusy, StoreSilent, StoreUnavailable, Write

_MOST_PER_COMMIT = 64
BUSY_SECONDS = 2.0  # so long anybody waits for a busy store, whatever others wait for
_SOON = 0.05  # seconds in which nothing more is worth trying
Row = tuple[Any, ...]


class Connection(Protocol):
    """One driver's connection; every method raises ``StoreUnavailable`` where the database does not answer."""

    def rows(self, bound: Bound) -> list[Row]: ...
    def run_all(self, writes: Sequence[Write], patience: float) -> list[bool]:
        """Run the writes in one durable transaction and say, for each, whether its claim was won.

        :raises StoreBusy: where others hold the store for longer than ``patience`` seconds.
        """
        ...

    def close(self) -> None: ...


class Driver(Protocol):
    dialect: str

    def connect(self) -> Connection: ...


class _Pending:
    """A write that waits: until it is settled, or its thread is the next to commit."""

    __slots__ = ("_turn", "deadline", "failure", "is_settled", "leads", "won", "write")

    def __init__(self, write: Write) -> None:
        self.write = write
        self.deadline = time.monotonic() + BUSY_SECONDS
        self.won = False
        self.failure: BaseException | None = None
        self.is_settled = self.leads = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        self._turn.acquire()

    def lead(self) -> None:
        self.leads = True
        self._turn.release()

    def settle(self, won: bool, failure: BaseException | None = None) -> None:
        self.won, self.failure, self.is_settled = won, failure, True
        self._turn.release()


class Store:
    """Reads and writes; safe for threads, and for forks (a child opens connections of its own)."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._forget()
        weak = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _call(weak, Store._keep_for_parent), after_in_child=lambda: _call(weak, Store._forget)
        )

    def _forget(self) -> None:
        self._local = threading.local()
        self._opened: weakref.WeakSet[Any] = weakref.WeakSet()
        self._writer: Connection | None = None
        self._queueing = threading.Lock()
        self._is_led = False  # whether a thread commits, or was told to
        self._queue: list[_Pending] = []

    def _keep_for_parent(self) -> None:
        # A child that collected the parent's connections would say goodbye on the parent's sockets.
        self._inherited = list(self._opened)

    @property
    def dialect(self) -> str:
        return self._driver.dialect

    def all(self, bound: Bound) -> list[Row]:
        """The rows of a query.

        :raises StoreUnavailable: where the database does not answer.
        """
        try:
            connection: Connection = self._local.connection
        except AttributeError:
            connection = self._open_reader()
        try:
            return connection.rows(bound)
        except (StoreBusy, StoreSilent):
            raise
        except StoreUnavailable:
            del self._local.connection
            connection.close()
            return self._open_reader().rows(bound)  # once: the connection may have been the old server's

    def one(self, bound: Bound) -> Row | None:
        rows = self.all(bound)
        return rows[0] if rows else None

    def write(self, write: Write) -> bool:
        """Whether the claim was won; when this returns, what was written is durable.

        One thread at a time commits what all waiting threads brought: on a disk that needs 0.25 ms for each
        commit, 16 writes cost little more than one. The others sleep, each until its own write is settled.

        :raises StoreUnavailable: where nothing was written.
        """
        pending = _Pending(write)
        with self._queueing:
            self._queue.append(pending)
            pending.leads, self._is_led = not self._is_led, True
        if not pending.leads:
            pending.wait()
        if pending.leads:
            self._lead(pending)
        if pending.failure is not None:
            raise pending.failure
        return pending.won

    def close_reader(self) -> None:
        """Close this thread's own connection: the thread is about to end."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        for connection in list(self._opened):
            connection.close()
        self._forget()

    def _lead(self, own: _Pending) -> None:
        """Commit until one's own write is settled, then leave it to the next."""
        try:
            while not own.is_settled:
                self._commit_waiting()
        finally:
            with self._queueing:
                self._is_led = bool(self._queue)
                if self._queue:
                    self._queue[0].lead()

    def _commit_waiting(self) -> None:
        with self._queueing:
            batch, self._queue = self._queue[:_MOST_PER_COMMIT], self._queue[_MOST_PER_COMMIT:]
        try:
            self._commit(batch)
        except BaseException:  # this thread is told to end: nobody may wait for it
            for pending in batch:
                if not pending.is_settled:
                    pending.settle(False, StoreUnavailable("the server is stopping"))
            raise

    def _commit(self, batch: Sequence[_Pending]) -> None:
        try:
            results = self._run(batch)
        except StoreBusy as busy:
            self._give_up(batch, busy)
        except Exception as failure:
            # Where the store is at fault, nobody knows what was written, or has time to try again. Where one of
            # the writes is, nothing was: each is run on its own, so that the others get through.
            if len(batch) == 1 or isinstance(failure, StoreUnavailable):
                for pending in batch:
                    pending.settle(False, failure)
                return
            for pending in batch:
                self._commit([pending])
        else:
            for pending, won in zip(batch, results, strict=True):
                pending.settle(won)

    def _give_up(self, batch: Sequence[_Pending], busy: StoreBusy) -> None:
        """Refuse those who have waited long enough; the others, who came later, wait on."""
        now = time.monotonic() + _SOON
        patient = [pending for pending in batch if pending.deadline > now]
        with self._queueing:
            self._queue[:0] = patient
        for pending in batch:
            if pending.deadline <= now:
                pending.settle(False, busy)

    def _run(self, batch: Sequence[_Pending]) -> list[bool]:
        if self._writer is None:
            self._writer = self._connect_for(batch)
        patience = min(pending.deadline for pending in batch) - time.monotonic()
        try:
            return self._writer.run_all([pending.write for pending in batch], max(_SOON, patience))
        except StoreBusy:
            raise
        except StoreUnavailable:
            self._writer.close()
            self._writer = None
            raise

    def _connect_for(self, batch: Sequence[_Pending]) -> Connection:
        """A connection; where there is none to be had, whoever came meanwhile has waited for it too."""
        try:
            return self._connect()
        except StoreUnavailable as failure:
            with self._queueing:
                waiting, self._queue = self._queue, []
            for pending in waiting:
                pending.settle(False, failure)
            raise

    def _open_reader(self) -> Connection:
        self._local.connection = connection = self._connect()
        return connection

    def _connect(self) -> Connection:
        connection = self._driver.connect()
        self._opened.add(connection)
        return connection


def _call(weak: weakref.ref[Store], method: Callable[[Store], None]) -> None:
    store = weak()
    if store is not None:
        method(store)
