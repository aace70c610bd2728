"""GCRA (generic cell rate algorithm) on shared counters, with leases for hot keys.

The bound: a limit of n/period with burst b admits at most ``b + n * t / period`` calls in any ``t`` seconds, over
all processes. Each call moves the key's theoretical arrival time (TAT) by one emission interval and is admitted
while the TAT is at most b intervals ahead.

A lease spends k calls at once, to be used within ``LEASE_SECONDS``. It is charged as if it were used at its very
end: the TAT moves on from ``max(tat, now + LEASE_SECONDS)``. So every call, whenever it comes, was charged at or
after its own moment, and the bound holds as for single calls; what is not used is lost, never spent twice.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from .circuit_breaker_counters import CircuitBreakerCounters
from .counters import Counters
from .limit import LEASE_DURATION_S, Limit

_HOT_KEY_CALLS = 20  # calls within one lease's life that make a key worth leasing
_MAX_KEYS = 20_000
_MAX_LEASE_BUDGET_S = (
    5.0  # seconds of budget that a lease takes at the most: what it leaves has to come back before it is there
)
_MIN_REFUND_S = (
    2 * LEASE_DURATION_S
)  # seconds of budget that cannot have come back by themselves while a lease may be out


@dataclass(slots=True)  # not frozen: that would cost 0.5 us for each call
class LimitResult:
    """The verdict on one call, and what the RateLimit fields say."""

    is_admitted: bool
    limit: Limit
    remaining: int
    reset_after: float  # seconds until the whole budget is there again
    retry_after: float  # seconds; 0 where admitted
    lease_ends_at: float = 0.0  # of the lease that was held then,
    tat: float = 0.0  # and the TAT that the call left: what must be unchanged when it is undone


@dataclass(slots=True)
class _KeyState:
    """What this process knows of a key; a hint, except for the lease, which is its own.

    ``name`` is the counters' for it. It has the limit in it: what was spent of one limit says nothing of another.
    """

    limit: Limit
    counter_key: str
    lease_left_s: float = 0.0  # seconds of budget that the lease still holds
    lease_ends_at: float = 0.0
    tat: float = 0.0
    refused_until: float = 0.0  # for single calls: the TAT only grows, so a refusal stands until then
    window_began_at: float = 0.0
    calls: int = 0
    previous_calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Limiter:
    """Spends from limits; safe for threads. Times are seconds since 1970, from the caller."""

    def __init__(self, counters: Counters) -> None:
        self._counters = CircuitBreakerCounters(counters)
        self._keys: OrderedDict[str, _KeyState] = OrderedDict()

    def spend(self, key: str, limit: Limit, now: float, cost: int = 1) -> LimitResult:
        """Take ``cost`` calls from the budget of ``key``. A refused call takes nothing.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known = self._get_state(key, limit)
        with known.lock:
            return self._spend(known, limit, now, cost * limit.emission_interval_s)

    def spend_lease(self, key: str, limit: Limit, now: float, cost: int = 1) -> tuple[int, float] | None:
        """Take ``cost`` calls from the lease that this process holds, as ``spend`` does where there is one.

        The usual case of a hot key, and so all in one place and without a ``Spent``: what remains, and the seconds
        until the whole budget is there again. None, and nothing taken, where no lease pays: ``spend`` then.
        """
        known = self._keys.get(key)
        if known is None or known.limit is not limit:
            return None
        with known.lock:
            if now >= known.lease_ends_at or (left := known.lease_left_s - cost * limit.emission_interval_s) < 0.0:
                return None
            known.calls += 1
            known.lease_left_s = left
            ahead = known.tat - now
        if ahead < 0.0:
            ahead = 0.0
        left += limit.burst_tolerance_s - ahead
        return int(left / limit.emission_interval_s + 1e-6) if left > 0.0 else 0, ahead

    def standing_refusal(self, key: str, limit: Limit, now: float, cost: int = 1) -> LimitResult | None:
        """The refusal that stands already, told without a look at the counters; None where nobody knows of one."""
        known, seconds = self._keys.get(key), cost * limit.emission_interval_s
        if known is None or known.limit != limit or now >= known.refused_until:
            return None
        if now < known.lease_ends_at and known.lease_left_s >= seconds:
            return None
        return self._refused_result(known, limit, now, seconds)

    def peek(self, key: str, limit: Limit, now: float) -> LimitResult:
        """What remains of a budget; takes nothing.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known = self._get_state(key, limit)
        with known.lock:
            if now >= known.lease_ends_at:
                known.tat = self._counters.read(known.counter_key, now)
            told = self._admitted_result(known, limit, now)
        short = (
            0.0 if told.remaining else max(0.0, known.tat - now + limit.emission_interval_s - limit.burst_tolerance_s)
        )
        return LimitResult(told.remaining > 0, limit, told.remaining, told.reset_after, short)

    def refund_best_effort(self, key: str, limit: Limit, cost: int = 1) -> None:
        """Give back what a call took a moment ago that should not count after all.

        Only where it is dear enough that it cannot have come back by itself meanwhile: what came back twice could
        be spent twice.
        """
        seconds = cost * limit.emission_interval_s
        if seconds < _MIN_REFUND_S:
            return
        known = self._get_state(key, limit)
        with known.lock:
            self._counters.refund(known.counter_key, seconds, None)
            known.refused_until = 0.0

    def refund(self, key: str, result: LimitResult, now: float, cost: int = 1) -> None:
        """Give back what has just been taken, unless others moved the key since: exact at any rate.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known, seconds = self._get_state(key, result.limit), cost * result.limit.emission_interval_s
        with known.lock:
            if now < known.lease_ends_at == result.lease_ends_at:
                known.lease_left_s += seconds  # it was charged at the lease's end or later, so it may come until then
            elif known.tat == result.tat and self._counters.refund(known.counter_key, seconds, result.tat):
                known.tat -= seconds

    def close(self) -> None:
        self._keys.clear()
        self._counters.close()

    def prune(self, now: float) -> None:
        self._counters.prune(now)

    def _spend(self, state: _KeyState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        if now < state.lease_ends_at and state.lease_left_s >= cost_s:
            state.calls += 1
            state.lease_left_s -= cost_s
            return self._admitted_result(state, limit, now)
        if now - state.window_began_at >= LEASE_DURATION_S:
            recent = now - state.window_began_at < 2 * LEASE_DURATION_S
            state.previous_calls, state.calls, state.window_began_at = state.calls if recent else 0, 0, now
        state.calls += 1
        if now < state.refused_until:
            return self._refused_result(state, limit, now, cost_s)
        if max(state.calls, state.previous_calls) >= _HOT_KEY_CALLS and self._take_lease(state, limit, now, cost_s):
            return self._admitted_result(state, limit, now)
        admitted, state.tat = self._counters.spend(state.counter_key, now, cost_s, now + limit.burst_tolerance_s)
        if admitted:
            return self._admitted_result(state, limit, now)
        state.refused_until = min(now + 1.0, state.tat + limit.emission_interval_s - limit.burst_tolerance_s)
        return self._refused_result(state, limit, now, cost_s)

    def _take_lease(self, state: _KeyState, limit: Limit, now: float, cost_s: float) -> bool:
        wanted = max(state.calls, state.previous_calls) * 1.25 * cost_s
        room = limit.burst_tolerance_s - LEASE_DURATION_S - max(0.0, state.tat - now - LEASE_DURATION_S)
        taken = (
            math.floor(min(wanted, room / 2, _MAX_LEASE_BUDGET_S) / cost_s) * cost_s
        )  # whole calls: what is left over is lost
        if taken < max(cost_s, 4 * limit.emission_interval_s):
            return False  # nearly empty, or a small burst: one statement for each call
        leased, tat = self._counters.spend(
            state.counter_key, now + LEASE_DURATION_S, taken, now + limit.burst_tolerance_s
        )
        if leased:
            # A millionth of a call more than was taken, or rounding would leave the last call unpaid.
            state.tat, state.lease_left_s = tat, taken - cost_s + 1e-6 * limit.emission_interval_s
            state.lease_ends_at = now + LEASE_DURATION_S
            # While it lasts, calls are only counted: a window of its own, so that the next lease fits them.
            state.previous_calls, state.calls, state.window_began_at = max(state.calls, state.previous_calls), 1, now
        return leased

    def _admitted_result(self, state: _KeyState, limit: Limit, now: float) -> LimitResult:
        ahead = state.tat - now if state.tat > now else 0.0
        left = limit.burst_tolerance_s - ahead + (state.lease_left_s if now < state.lease_ends_at else 0.0)
        remaining = int(left / limit.emission_interval_s + 1e-6) if left > 0.0 else 0
        return LimitResult(True, limit, remaining, ahead, 0.0, state.lease_ends_at, state.tat)

    def _refused_result(self, state: _KeyState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        ahead = max(0.0, state.tat - now)
        return LimitResult(False, limit, 0, ahead, max(0.001, ahead + cost_s - limit.burst_tolerance_s))

    def _get_state(self, key: str, limit: Limit) -> _KeyState:
        known = self._keys.get(key)
        if known is not None and known.limit is not limit and known.limit == limit:
            known.limit = limit  # two routes of a group say the same
        elif known is None or known.limit is not limit:
            if len(self._keys) >= _MAX_KEYS:
                with contextlib.suppress(KeyError):  # another thread was first
                    self._keys.popitem(last=False)
            known = self._keys[key] = _KeyState(limit, f"{key}|{limit}")
        return known
