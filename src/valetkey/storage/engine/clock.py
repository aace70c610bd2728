"""The front-door clock, corrected by the store's: machines that share a database agree on the time."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from .statement import Statement
from .store import Store
from .transaction import StoreUnavailable

_MEASURE_INTERVAL_S = 60.0  # seconds between measurements
_TOLERANCE_S = 0.005  # seconds by which well-kept clocks differ
_SELECT_NOW = Statement(text("SELECT extract(epoch FROM clock_timestamp())::double precision"))


def store_clock(store: Store, local_clock: Callable[[], float]) -> Callable[[], float]:
    """The clock to go by, in seconds since 1970. A SQLite store is on this machine: its clock is ours."""
    return StoreClock(store, local_clock) if store.dialect == "postgresql" else local_clock


class StoreClock:
    """Ours, set right once a minute."""

    def __init__(self, store: Store, local_clock: Callable[[], float]) -> None:
        self._store = store
        self._local_clock = local_clock
        self._offset_s = 0.0
        self._measured_at: float | None = None

    def __call__(self) -> float:
        now = self._local_clock()
        if self._measured_at is None or not 0 <= now - self._measured_at < _MEASURE_INTERVAL_S:
            self._measured_at = now
            self._measure()
        return now + self._offset_s

    def _measure(self) -> None:
        """The store's time lies somewhere between question and answer: where ours may be right, it is taken as right.

        So machines whose clocks agree are not set apart by a slow answer: limits are exact over all of them.
        """
        before = self._local_clock()
        try:
            row = self._store.fetch_one(_SELECT_NOW())
        except StoreUnavailable:
            return  # whoever needs the store will say so
        if row:
            half = (self._local_clock() - before) / 2
            offset = float(row[0]) - (before + half)
            self._offset_s = 0.0 if abs(offset) <= half + _TOLERANCE_S else offset
