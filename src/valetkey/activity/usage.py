"""How often apps call: counted in memory, written in batches, flushed at the end of the process. Never a quota."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque

from valetkey.storage import usage
from valetkey.storage.store import Store
from valetkey.storage.usage import Used
from valetkey.storage.write import StoreUnavailable, Write

from .background import Background

_MOST = 10_000  # different counts that wait; while the store is down, older ones wait with them
_MOST_CALLS = 50_000  # that nobody has counted yet
_FIRST = (
    10  # calls of each second that see to it that they are counted: of two at once, neither may see itself as first
)
_PER_WRITE = 500
_log = logging.getLogger("valetkey")

Key = tuple[int, str, str, str, int]  # hour, app, method, template, status


class Usage:
    """``note`` keeps a call in memory; the background counts and writes once a second."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background
        self._calls: deque[tuple[float, str, str, str, int]] = deque()
        self._waiting: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._lost = 0
        background.add(self.flush)

    def note(self, client_id: str, method: str, template: str, status: int, now: float) -> None:
        """Count one call of an app; ``template`` is the route's, as ``/api/places/<id>``.

        It is counted later, many in one go: counting here took 5 us of a request, this takes 0.3 in a loop.
        """
        calls = self._calls
        calls.append((now, client_id, method, template, status))
        if len(calls) <= _FIRST:
            self._background.wake()
        elif len(calls) > _MOST_CALLS:
            self._count()

    def flush(self) -> None:
        """Write what waits; what a store that is down does not take waits on."""
        self._count()
        with self._lock:
            waiting, self._waiting, lost, self._lost = self._waiting, {}, self._lost, 0
        if lost:
            _log.warning("usage: %d calls were not counted, since the store was slower than they came", lost)
        keys = sorted(waiting)  # in one order, so that two processes never wait for each other's rows
        for begin in range(0, len(keys), _PER_WRITE):
            batch = keys[begin : begin + _PER_WRITE]
            try:
                self._store.write(Write(rows=tuple(usage.count(_used(key, waiting[key])) for key in batch)))
            except StoreUnavailable:
                self._put_back({key: waiting[key] for key in keys[begin:]})
                return

    def _count(self) -> None:
        calls = self._calls
        with self._lock, contextlib.suppress(IndexError):
            waiting = self._waiting
            while True:
                now, client_id, method, template, status = calls.popleft()  # others may add meanwhile
                key = (int(now) // usage.HOUR, client_id, method, template, status)
                if key in waiting:
                    waiting[key] += 1
                elif len(waiting) < _MOST:
                    waiting[key] = 1
                else:
                    self._lost += 1

    def _put_back(self, counts: dict[Key, int]) -> None:
        with self._lock:
            for key, calls in counts.items():
                if key in self._waiting or len(self._waiting) < _MOST:
                    self._waiting[key] = self._waiting.get(key, 0) + calls
                else:
                    self._lost += calls


def _used(key: Key, calls: int) -> Used:
    hour, client_id, method, template, status = key
    return Used(hour, client_id, f"{method} {template}", status, calls)
