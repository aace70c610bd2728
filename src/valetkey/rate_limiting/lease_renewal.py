"""Renewal of the leases of steady callers before they end, many with one request to the database or Redis."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.storage.engine.daemon_thread import start_daemon_thread

from .backends.counters import Counters, Spend
from .caller_state import CallerState, Lease, size_lease
from .limit import MAX_CALL_AGE_S, RENEWAL_LEAD_S

_INTERVAL_S = 0.05  # between two rounds; a lease is renewed in the last quarter of its second
_MAX_REQUESTS = 20_000
_log = logging.getLogger("valetkey")


class _Request(NamedTuple):
    """A caller whose lease ends soon, the time of its last call, and what one call costs."""

    state: CallerState
    now: float
    cost_s: float


class LeaseRenewal:
    """Takes the next leases of callers whose present leases end soon.

    Without it, each lease is taken by a request, which waits for the counters. A thread takes all leases that were
    asked for within 50 ms together. If it is late, or the counters cannot be reached, requests take their leases
    themselves. A forked process needs a new object.

    :param clock: the clock that the times of calls were read from.
    :param in_background: whether the first request starts the thread; else ``renew`` must be called.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float], *, in_background: bool) -> None:
        self._counters = counters
        self._clock = clock
        self._requests: deque[_Request] = deque(maxlen=_MAX_REQUESTS)
        self._in_background = in_background
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._has_requests = threading.Event()
        self._stop = threading.Event()

    def request(self, state: CallerState, now: float, cost_s: float) -> None:
        """Ask for the next lease of a caller.

        :param now: time of the call, in seconds since 1970.
        :param cost_s: what the call costs, in seconds of budget.
        """
        self._requests.append(_Request(state, now, cost_s))
        if self._thread is None and self._in_background:
            self._start_thread()
        if not self._has_requests.is_set():
            self._has_requests.set()

    def renew(self) -> None:
        """Take the leases that were asked for. A caller that has slowed down gets none.

        Nor does one whose request is older than ``MAX_CALL_AGE_S``, because the process was stopped meanwhile.
        """
        requests: dict[str, _Request] = {}
        with contextlib.suppress(IndexError):
            while True:
                request = self._requests.popleft()
                requests[request.state.counter_key] = request
        earliest = self._clock() - MAX_CALL_AGE_S
        spends = {
            key: spend
            for key, request in requests.items()
            if request.now >= earliest and (spend := _size_next_lease(request)) is not None
        }
        if not spends:
            return
        try:
            results = self._counters.spend_all(list(spends.values()))
        except BackendUnavailable:
            return
        for (key, spend), (is_spent, tat) in zip(spends.items(), results, strict=True):
            if is_spent:
                state = requests[key].state
                with state.lock:
                    state.next_lease = Lease.of(state.limit, spend.cost_s, spend.min_tat, tat)

    def close(self) -> None:
        """Stop the thread, and wait up to two seconds for it to end."""
        self._stop.set()
        self._has_requests.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=2)

    def _start_thread(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = start_daemon_thread("valetkey-leases", self._run)
                self._in_background = self._thread is not None  # else requests take all leases themselves

    def _run(self) -> None:
        while self._has_requests.wait() and not self._stop.wait(_INTERVAL_S):
            self._has_requests.clear()
            try:
                self.renew()
            except Exception:  # requests take their leases themselves; the thread must go on
                _log.exception("leases of rate limits cannot be renewed")


def _size_next_lease(request: _Request) -> Spend | None:
    """Return what to charge for a caller's next lease, or ``None`` if it should have none.

    The lease begins when the present one ends, and is charged as of its own end.
    """
    state, now, cost_s = request
    with state.lock:
        if state.has_next_lease(now):
            return None
        lease_s, duration_s = size_lease(state, state.limit, now, cost_s, state.measure_rate(now))
        if lease_s < cost_s:
            return None
        begins_at = min(state.lease_ends_at, now + RENEWAL_LEAD_S)
        return Spend(state.counter_key, begins_at + duration_s, lease_s, now + state.limit.burst_tolerance_s)
