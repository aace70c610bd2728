"""Usage: how often each client calls each route, and when each token was last used; written in batches.

These counts are statistics and may lose calls, so quotas are counted elsewhere, in ``rate_limiting``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque

from valetkey.protocol.access_token import AccessToken
from valetkey.storage import usage
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.usage import HourlyUsage

from .background import BackgroundThread
from .last_used import LastUsedTimes

_MAX_CALLS = 20_000  # recorded calls that are not counted yet
_MAX_PENDING = 10_000  # counts in memory; while the store is unavailable, they stay there
_BATCH_SIZE = 500
_log = logging.getLogger("valetkey")

UsageKey = tuple[int, str, str, str, str]  # hours since 1970, client_id, method, URL rule, status


class UsageBuffer:
    """Buffer for the numbers of calls per hour, client, route and status, and for the times of last use of tokens.

    ``record`` only stores the call. The background thread counts the calls and writes the counts and times to the
    database, once a second and when the process exits.
    """

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._reset()
        call_after_fork(self._reset)
        background.add(self.flush)

    def _reset(self) -> None:
        self._calls: deque[tuple[AccessToken, str, str, str, float]] = deque()
        self._pending: dict[UsageKey, int] = {}
        self._last_used = LastUsedTimes()
        self._lock = threading.Lock()
        self._dropped_calls = 0

    def record(self, token: AccessToken, method: str, url_rule: str, status: str, now: float) -> None:
        """Count one call of a client, with a valid token.

        :param method: HTTP method of the call, such as ``GET``.
        :param url_rule: URL rule of the route, such as ``/api/places/<id>``.
        :param status: status code of the response, such as ``200``.
        :param now: time of the call, in seconds since 1970.
        """
        calls = self._calls
        is_first = not calls
        calls.append((token, method, url_rule, status, now))
        if is_first or self._background.has_failed:
            self._background.ensure_running()
        if len(calls) > _MAX_CALLS:  # the background thread is late, or does not run
            with self._lock:
                self._count_calls()

    def flush(self) -> None:
        """Write the counted calls and the times of last use to the database.

        If it is unavailable, the counts stay in memory until the next flush, and the times are dropped. Counts that may
        have been written nevertheless are dropped, so that no call is counted twice.
        """
        with self._lock:
            self._count_calls()
            last_used = self._last_used.take_updates()
            pending, self._pending, dropped, self._dropped_calls = self._pending, {}, self._dropped_calls, 0
        if last_used:
            with contextlib.suppress(StoreUnavailable):  # no response has promised these times
                self._store.write(Transaction(rows=last_used))
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
            except StoreUnavailable as error:
                if error.may_be_written:
                    _log.warning("usage: %d calls may not be counted: %s", sum(pending[key] for key in batch), error)
                    begin += _BATCH_SIZE
                self._restore({key: pending[key] for key in keys[begin:]})
                return

    def _count_calls(self) -> None:
        """Add the recorded calls to the counts, and their times to the times of last use. Call it under the lock."""
        calls, pending = self._calls, self._pending
        for _ in range(len(calls)):
            token, method, url_rule, status, now = calls.popleft()
            self._last_used.record(token, now)
            key = (int(now) // usage.HOUR_S, token.client_id, method, url_rule, status)
            if key in pending or len(pending) < _MAX_PENDING:
                pending[key] = pending.get(key, 0) + 1
            else:
                self._dropped_calls += 1

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
