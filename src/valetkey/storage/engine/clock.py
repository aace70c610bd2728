"""A clock corrected by the database server's clock, so that machines that share a database agree on the time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import text

from .after_fork import call_after_fork
from .statement import Statement
from .store import Store
from .transaction import StoreUnavailable

CLOCK_MARGIN_S = 60.0  # the clocks of two processes that share a database differ by less
_MEASURE_INTERVAL_S = 60.0  # time between measurements
_RETRY_INTERVAL_S = 1.0  # until the first one has succeeded
_TOLERANCE_S = 0.005  # difference between well synchronized clocks
_SELECT_NOW = Statement(text("SELECT extract(epoch FROM clock_timestamp())::double precision"))


def store_clock(store: Store, local_clock: Callable[[], float]) -> Callable[[], float]:
    """Return the clock to use with a store, in seconds since 1970-01-01 UTC.

    With SQLite it is ``local_clock``, as the database is on this machine; with PostgreSQL it is a ``StoreClock``.
    """
    return StoreClock(store, local_clock) if store.dialect == "postgresql" else local_clock


class StoreClock:
    """A clock that follows the database server's: the local clock plus an offset that is measured once a minute.

    Calling it returns seconds since 1970-01-01 UTC. Until the first measurement has ended, callers wait for it. While
    none has succeeded, because the database is unavailable, it is the local clock.
    """

    def __init__(self, store: Store, local_clock: Callable[[], float]) -> None:
        self._store = store
        self._local_clock = local_clock
        self._offset_s = 0.0
        self._is_measured = False
        self._tried_at, self._interval_s = float("-inf"), _RETRY_INTERVAL_S  # the last measurement, until the next one
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> float:
        now = self._local_clock()
        if not 0 <= now - self._tried_at < self._interval_s:
            self._measure_if_due()
            now = self._local_clock()
        return now + self._offset_s

    def _measure_if_due(self) -> None:
        """Measure in one thread. The others use the last offset; if there is none yet, they wait."""
        if not self._lock.acquire(blocking=not self._is_measured):
            return
        try:
            now = self._local_clock()
            if not 0 <= now - self._tried_at < self._interval_s:
                self._is_measured = self._measure() or self._is_measured
                self._interval_s = _MEASURE_INTERVAL_S if self._is_measured else _RETRY_INTERVAL_S
                self._tried_at = self._local_clock()
        finally:
            self._lock.release()

    def _measure(self) -> bool:
        """Measure the offset from the database server's clock, and return whether the database was available.

        If it was not, the offset stays as it was.

        The server read its clock at an unknown moment between request and response. If the local clock may be right
        within that time, the offset is 0: a slow response does not make clocks differ that agree, and limits are
        exact over all machines.
        """
        before = self._local_clock()
        try:
            row = self._store.fetch_one(_SELECT_NOW())
        except StoreUnavailable:
            return False  # the caller that needs the store raises this error
        if row:
            half_round_trip_s = (self._local_clock() - before) / 2
            offset_s = float(row[0]) - (before + half_round_trip_s)
            self._offset_s = 0.0 if abs(offset_s) <= half_round_trip_s + _TOLERANCE_S else offset_s
        return True
