"""A bounded pool of read connections, which threads borrow for one query each."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .connection import BUSY_TIMEOUT_S, Connection, Row
from .statement import BoundStatement
from .transaction import StoreBusy, StoreConflict, StoreTimeout, StoreUnavailable

_POLL_INTERVAL_S = 0.001


class ReaderPool:
    """Read connections, the last used first; at most ``max_connections`` are open. Thread-safe.

    A connection that fails is closed and replaced once, since the database server may have been restarted. A query
    that conflicts with a concurrent transaction is run once more.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._idle: deque[Connection] = deque()
        self._returned = self._idle  # where threads return connections: elsewhere while the pool is paused
        self._is_paused = False
        self._open_count = 0
        self._waiter_count = 0
        self._released = threading.Condition()

    def fetch_all(self, statement: BoundStatement, connect: Callable[[], Connection]) -> list[Row]:
        """Run a query and return its rows.

        :param connect: opens a connection.
        :raises StoreBusy: if all connections are in use for longer than ``BUSY_TIMEOUT_S``.
        :raises StoreUnavailable: if the database does not respond.
        """
        connection: Connection | None
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open_or_wait(connect)
        try:
            return connection.fetch_all(statement)
        except StoreConflict:
            return connection.fetch_all(statement)
        except (StoreBusy, StoreTimeout):
            raise
        except StoreUnavailable:
            connection.close()
            connection = None  # if the new one cannot be opened, there is none to release
            connection = self._open(connect)
            return connection.fetch_all(statement)
        finally:
            if connection is not None:
                self._returned.append(connection)
                if self._waiter_count:
                    with self._released:
                        self._released.notify()

    def pause(self, deadline: float) -> bool:
        """Close all connections as soon as they are idle, and let no thread open one until ``resume`` is called.

        :param deadline: when to give up, in seconds of the monotonic clock.
        :returns: whether all connections were closed in time.
        """
        with self._released:
            self._is_paused, self._returned = True, deque()
        while True:
            self._close_all_idle()
            if not self._open_count or time.monotonic() >= deadline:
                return not self._open_count
            time.sleep(_POLL_INTERVAL_S)

    def resume(self) -> None:
        """Let threads open connections again."""
        with self._released:
            self._idle.extend(self._returned)
            self._is_paused, self._returned = False, self._idle
            self._released.notify_all()

    def _close_all_idle(self) -> None:
        for idle in (self._idle, self._returned):
            while idle:
                try:
                    connection = idle.pop()
                except IndexError:  # another thread was faster
                    break
                connection.close()
                with self._released:
                    self._open_count -= 1

    def _open_or_wait(self, connect: Callable[[], Connection]) -> Connection:
        """Return a new connection, or the first one that another thread releases if no more may be opened."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        with self._released:
            self._waiter_count += 1
            try:
                while self._is_paused or self._open_count >= self._max_connections:
                    if self._idle and not self._is_paused:
                        try:
                            return self._idle.pop()
                        except IndexError:  # another thread was faster
                            continue
                    if not self._released.wait(deadline - time.monotonic()):
                        raise StoreBusy(
                            f"all {self._max_connections} connections that read the database were in use for "
                            f"{BUSY_TIMEOUT_S:g} s: increase database_connections"
                        )
                self._open_count += 1
            finally:
                self._waiter_count -= 1
        return self._open(connect)

    def _open(self, connect: Callable[[], Connection]) -> Connection:
        """Open a connection that is counted already; if that fails, it is counted no longer."""
        try:
            return connect()
        except BaseException:
            with self._released:
                self._open_count -= 1
                self._released.notify()
            raise
