"""How often apps call: counted in memory, written in batches, flushed at the end of the process. Never a quota."""

from __future__ import annotations

import logging
import threading

from valetkey.storage import usage
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Write
from valetkey.storage.usage import Used

from .background import Background

_MOST = 10_000  # different counts that wait; while the store is down, older ones wait with them
_PER_WRITE = 500
_WAKES = 16  # calls of a kind after which the thread is looked for: a forked process inherits counts, not the thread
_log = logging.getLogger("valetkey")

Key = tuple[int, str, str, str, str]  # hour, app, method, template, status


class Usage:
    """``note`` counts in memory; the background writes once a second."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background
        self._waiting: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._lost = 0
        background.add(self.flush)

    def note(self, client_id: str, method: str, template: str, status: str, now: float) -> None:
        """Count one call of an app.

        :param template: the route's, as ``/api/places/<id>``.
        :param status: how its status begins, as ``200``.
        """
        key = (int(now) // usage.HOUR, client_id, method, template, status)
        with self._lock:
            calls = self._waiting.get(key, 0)
            if calls or len(self._waiting) < _MOST:
                self._waiting[key] = calls + 1
            else:
                self._lost += 1
        if calls % _WAKES == 0:
            self._background.wake()

    def flush(self) -> None:
        """Write what waits; what a store that is down does not take waits on."""
        with self._lock:
            waiting, self._waiting, lost, self._lost = self._waiting, {}, self._lost, 0
        if lost:
            _log.warning("usage: %d calls were not counted: too many kinds of them, or too slow a store", lost)
        keys = sorted(waiting)  # in one order, so that two processes never wait for each other's rows
        for begin in range(0, len(keys), _PER_WRITE):
            batch = keys[begin : begin + _PER_WRITE]
            try:
                self._store.write(Write(rows=tuple(usage.count(_used(key, waiting[key])) for key in batch)))
            except StoreUnavailable:
                self._put_back({key: waiting[key] for key in keys[begin:]})
                return

    def _put_back(self, counts: dict[Key, int]) -> None:
        with self._lock:
            for key, calls in counts.items():
                if key in self._waiting or len(self._waiting) < _MOST:
                    self._waiting[key] = self._waiting.get(key, 0) + calls
                else:
                    self._lost += calls


def _used(key: Key, calls: int) -> Used:
    hour, client_id, method, template, status = key
    digits = status.partition(" ")[0]  # a view may have answered with 7, or with no number at all
    return Used(hour, client_id, f"{method} {template}", int(digits) if digits.isdecimal() else 0, calls)
