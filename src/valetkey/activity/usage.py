"""How often apps call: counted in memory, written in batches, flushed at the end of the process. Never a quota."""

from __future__ import annotations

import logging
import threading

from valetkey.storage import usage
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.usage import HourlyUsage

from .background import BackgroundThread

_MAX_PENDING = 10_000  # different counts that wait; while the store is down, older ones wait with them
_BATCH_SIZE = 500
_CALLS_PER_THREAD_CHECK = (
    16  # calls of a kind after which the thread is looked for: a forked process inherits counts, not the thread
)
_log = logging.getLogger("valetkey")

UsageKey = tuple[int, str, str, str, str]  # hour, app, method, template, status


class UsageBuffer:
    """``note`` counts in memory; the background writes once a second."""

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._pending: dict[UsageKey, int] = {}
        self._lock = threading.Lock()
        self._dropped_calls = 0
        background.add(self.flush)

    def record(self, client_id: str, method: str, url_rule: str, status: str, now: float) -> None:
        """Count one call of an app.

        :param template: the route's, as ``/api/places/<id>``.
        :param status: how its status begins, as ``200``.
        """
        key = (int(now) // usage.HOUR_S, client_id, method, url_rule, status)
        with self._lock:
            calls = self._pending.get(key, 0)
            if calls or len(self._pending) < _MAX_PENDING:
                self._pending[key] = calls + 1
            else:
                self._dropped_calls += 1
        if calls % _CALLS_PER_THREAD_CHECK == 0:
            self._background.ensure_running()

    def flush(self) -> None:
        """Write what waits; what a store that is down does not take waits on."""
        with self._lock:
            waiting, self._pending, lost, self._dropped_calls = self._pending, {}, self._dropped_calls, 0
        if lost:
            _log.warning("usage: %d calls were not counted: too many kinds of them, or too slow a store", lost)
        keys = sorted(waiting)  # in one order, so that two processes never wait for each other's rows
        for begin in range(0, len(keys), _BATCH_SIZE):
            batch = keys[begin : begin + _BATCH_SIZE]
            try:
                self._store.write(
                    Transaction(rows=tuple(usage.add_calls(_make_row(key, waiting[key])) for key in batch))
                )
            except StoreUnavailable:
                self._restore({key: waiting[key] for key in keys[begin:]})
                return

    def _restore(self, counts: dict[UsageKey, int]) -> None:
        with self._lock:
            for key, calls in counts.items():
                if key in self._pending or len(self._pending) < _MAX_PENDING:
                    self._pending[key] = self._pending.get(key, 0) + calls
                else:
                    self._dropped_calls += calls


def _make_row(key: UsageKey, calls: int) -> HourlyUsage:
    hour, client_id, method, template, status = key
    digits = status.partition(" ")[0]  # a view may have answered with 7, or with no number at all
    return HourlyUsage(hour, client_id, f"{method} {template}", int(digits) if digits.isdecimal() else 0, calls)
