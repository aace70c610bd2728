"""Usage: how often each client calls each route. Counted in memory, written to the database in batches.

These counts are statistics and may lose calls, so quotas are counted elsewhere, in ``rate_limiting``.
"""

from __future__ import annotations

import logging
import threading

from valetkey.storage import usage
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.usage import HourlyUsage

from .background import BackgroundThread

_MAX_PENDING = 10_000  # counts in memory; while the store is unavailable, they stay there
_BATCH_SIZE = 500
# Each 16th call of a count checks that the background thread runs: a forked process inherits counts, but no thread.
_CALLS_PER_THREAD_CHECK = 16
_log = logging.getLogger("valetkey")

UsageKey = tuple[int, str, str, str, str]  # hours since 1970, client_id, method, URL rule, status


class UsageBuffer:
    """Buffer for the numbers of calls per hour, client, route and status.

    ``record`` counts in memory. The background thread writes the counts to the database once a second and when the
    process exits.
    """

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._pending: dict[UsageKey, int] = {}
        self._lock = threading.Lock()
        self._dropped_calls = 0
        background.add(self.flush)

    def record(self, client_id: str, method: str, url_rule: str, status: str, now: float) -> None:
        """Count one call of a client.

        :param method: HTTP method of the call, such as ``GET``.
        :param url_rule: URL rule of the route, such as ``/api/places/<id>``.
        :param status: status code of the response, such as ``200``.
        :param now: time of the call, in seconds since 1970.
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
        """Write the counted calls to the database. If it is unavailable, they stay in memory until the next flush."""
        with self._lock:
            pending, self._pending, dropped, self._dropped_calls = self._pending, {}, self._dropped_calls, 0
        if dropped:
            _log.warning(
                "usage: %d calls were not counted, because too many counts are waiting to be written. "
                "Check that the database is available and fast enough.",
                dropped,
            )
        keys = sorted(pending)  # the same order in all processes, so that their row locks cannot deadlock
        for begin in range(0, len(keys), _BATCH_SIZE):
            batch = keys[begin : begin + _BATCH_SIZE]
            try:
                self._store.write(
                    Transaction(rows=tuple(usage.add_calls(_make_row(key, pending[key])) for key in batch))
                )
            except StoreUnavailable:
                self._restore({key: pending[key] for key in keys[begin:]})
                return

    def _restore(self, counts: dict[UsageKey, int]) -> None:
        with self._lock:
            for key, calls in counts.items():
                if key in self._pending or len(self._pending) < _MAX_PENDING:
                    self._pending[key] = self._pending.get(key, 0) + calls
                else:
                    self._dropped_calls += calls


def _make_row(key: UsageKey, calls: int) -> HourlyUsage:
    hour, client_id, method, url_rule, status = key
    digits = status.partition(" ")[0]  # a view may respond with status 7, or without a number
    return HourlyUsage(hour, client_id, f"{method} {url_rule}", int(digits) if digits.isdecimal() else 0, calls)
