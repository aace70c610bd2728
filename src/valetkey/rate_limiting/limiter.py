"""Rate limiter: GCRA (generic cell rate algorithm) on counters that all processes share, with leases for busy callers.

A limit of n calls per period with burst b admits at most ``b + n * t / period`` calls in any ``t`` seconds, over all
processes. The counter of each caller is its theoretical arrival time (TAT): the time when its whole budget is available
again. Each call moves the TAT by one emission interval (period / n), and is admitted if the TAT is then at most b
intervals ahead of now.

A lease is k calls that a process spends from the counter in one step, and may then admit from memory for d seconds. It
is charged as if all its calls came at its end: the TAT moves on from ``max(tat, now + d)``. So each call is charged at
or after the time when it comes, and the bound holds as for single calls. Calls of a lease that are not used are lost,
never spent twice.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from .backends.circuit_breaker_counters import CircuitBreakerCounters
from .backends.counters import Counters
from .limit import LEASE_DURATION_S, LONG_LEASE_DURATION_S, MAX_CLOCK_OFFSET_S, Limit

# A caller with so many calls per second is hot, and gets leases of LEASE_DURATION_S.
_HOT_RATE = 40.0
# One with so many calls per second is steady. It gets longer leases of few calls, if the burst is worth so many seconds
# of budget. A lease reserves the budget of its duration, too; a caller that was active for so long has had as much in
# addition to its burst.
_STEADY_RATE, _MIN_STEADY_BURST_S = 2.0, 6.0
# Unused calls of steady leases are lost. They take up to this share of the burst; beyond it, calls are counted singly.
_STEADY_SHARE = 1 / 12
_MAX_KEYS = 20_000
# The largest lease, in seconds of budget: what a process does not use is only available again after that time.
_MAX_LEASE_BUDGET_S = 5.0
# The smallest refund, in seconds of budget: less may have been replenished already while a lease was in use.
_MIN_REFUND_S = 2 * LONG_LEASE_DURATION_S
_MAX_REFUSAL_S = 1.0  # how long calls are refused without reading the counter again
_MAX_AHEAD_S = 2.0  # a lease or a refusal that ends later than this was stored before the clock was set back


@dataclass(slots=True)  # not frozen: that would cost 0.5 us per call
class LimitResult:
    """Whether a rate limit admits one call, and the numbers for the RateLimit header fields."""

    is_admitted: bool
    limit: Limit
    remaining: int
    reset_after: float  # seconds until the whole budget is available again
    retry_after: float  # seconds until the call may be retried; 0 if admitted
    lease_ends_at: float = 0.0  # end of the lease at the time of the call, and
    tat: float = 0.0  # TAT after the call: a refund requires one of them to be unchanged


@dataclass(slots=True)
class _KeyState:
    """What this process has cached about one caller's budget: the counter as last read or changed, and the lease.

    The counter may have been changed by other processes since. The lease, the calls that this process may admit
    without the counter, belongs to this process only. ``counter_key`` is the counter's name in the backend; it contains
    the limit, so changing a limit starts a new counter.
    """

    limit: Limit
    counter_key: str
    lease_left_s: float = 0.0  # seconds of budget that are left of the lease
    lease_ends_at: float = 0.0
    tat: float = 0.0
    refused_until: float = 0.0  # single calls are refused until then, since the TAT only grows
    window_began_at: float = 0.0
    window_s: float = LONG_LEASE_DURATION_S
    calls: int = 0  # since the window began
    previous_rate: float = 0.0  # calls per second in the window before
    lock: threading.Lock = field(default_factory=threading.Lock)


class Limiter:
    """Charges calls to rate limits.

    A ``key`` names what is limited, such as a route and a client; each key has a budget. Safe for threads. ``now``
    is in seconds since 1970.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = CircuitBreakerCounters(counters)
        self._keys: OrderedDict[str, _KeyState] = OrderedDict()

    def spend(self, key: str, limit: Limit, now: float, cost: int = 1) -> LimitResult:
        """Charge ``cost`` calls to the budget of ``key``, and return whether the limit admits them.

        A refused call is not charged.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        state = self._get_state(key, limit)
        with state.lock:
            return self._spend(state, limit, now, cost * limit.emission_interval_s)

    def spend_lease(self, key: str, limit: Limit, now: float, cost: int = 1) -> tuple[int, float] | None:
        """Charge ``cost`` calls to the lease that this process holds for ``key``, without the shared counter.

        A lease is a share of the budget that a process may spend from memory. This is the fast path of ``spend`` for
        busy callers, with the same numbers: one function, and no ``LimitResult``.

        :returns: the remaining calls, and the seconds until the whole budget is available again; ``None``, and nothing
            is charged, if there is no lease or not enough is left of it. Call ``spend`` then.
        """
        state = self._keys.get(key)
        if state is None or state.limit is not limit:
            return None
        with state.lock:
            if (
                not 0.0 < state.lease_ends_at - now <= _MAX_AHEAD_S
                or (left_s := state.lease_left_s - cost * limit.emission_interval_s) < 0.0
            ):
                return None
            state.calls += 1
            state.lease_left_s = left_s
            ahead_s = state.tat - now
        if ahead_s < 0.0:
            ahead_s = 0.0
        left_s += limit.burst_tolerance_s - ahead_s
        return int(left_s / limit.emission_interval_s + 1e-6) if left_s > 0.0 else 0, ahead_s

    def standing_refusal(self, key: str, limit: Limit, now: float, cost: int = 1) -> LimitResult | None:
        """Return the result if it is certain, without reading the counter, that the call is refused; else ``None``."""
        state, cost_s = self._keys.get(key), cost * limit.emission_interval_s
        if state is None or state.limit != limit or not 0.0 < state.refused_until - now <= _MAX_AHEAD_S:
            return None
        if now < state.lease_ends_at and state.lease_left_s >= cost_s:
            return None
        return self._refused_result(state, limit, now, cost_s)

    def peek(self, key: str, limit: Limit, now: float) -> LimitResult:
        """Return what remains of the budget of ``key``, and whether a call would be admitted now. Nothing is charged.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        state = self._get_state(key, limit)
        with state.lock:
            if not 0.0 < state.lease_ends_at - now <= _MAX_AHEAD_S:
                tat = self._counters.read(state.counter_key, now)
                state.tat = tat if tat <= now + limit.burst_tolerance_s + MAX_CLOCK_OFFSET_S else now
            result = self._admitted_result(state, limit, now)
        retry_after_s = (
            0.0 if result.remaining else max(0.0, state.tat - now + limit.emission_interval_s - limit.burst_tolerance_s)
        )
        return LimitResult(result.remaining > 0, limit, result.remaining, result.reset_after, retry_after_s)

    def refund_best_effort(self, key: str, limit: Limit, cost: int = 1) -> None:
        """Refund ``cost`` calls that were charged a moment ago and should not count after all.

        Does nothing if they cost less than ``_MIN_REFUND_S`` seconds of budget: that may have been replenished
        meanwhile, and budget that comes back twice could be spent twice.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        cost_s = cost * limit.emission_interval_s
        if cost_s < _MIN_REFUND_S:
            return
        state = self._get_state(key, limit)
        with state.lock:
            self._counters.refund(state.counter_key, cost_s, None)
            state.refused_until = 0.0

    def refund(self, key: str, result: LimitResult, now: float, cost: int = 1) -> None:
        """Refund a call that was just admitted, unless the counter of ``key`` has changed since.

        :param result: what ``spend`` returned for the call.
        :param cost: how many calls were charged for the call.
        :raises BackendUnavailable: if the counters cannot be reached.
        """
        state, cost_s = self._get_state(key, result.limit), cost * result.limit.emission_interval_s
        with state.lock:
            if now < state.lease_ends_at == result.lease_ends_at:
                state.lease_left_s += cost_s  # it was charged at the end of the lease, so it may be spent until then
            elif state.tat == result.tat and self._counters.refund(state.counter_key, cost_s, result.tat):
                state.tat -= cost_s

    def close(self) -> None:
        """Close the counter backend. Calls that this process holds in leases and has not used are lost."""
        self._keys.clear()
        self._counters.close()

    def prune(self, now: float) -> None:
        """Delete the counters whose whole budget is available again at ``now``, in seconds since 1970."""
        self._counters.prune(now)

    def _spend(self, state: _KeyState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        if 0.0 < state.lease_ends_at - now <= _MAX_AHEAD_S and state.lease_left_s >= cost_s:
            state.calls += 1
            state.lease_left_s -= cost_s
            return self._admitted_result(state, limit, now)
        window_age_s = now - state.window_began_at
        if not 0.0 <= window_age_s < state.window_s:
            is_recent = 0.0 <= window_age_s < 2 * state.window_s
            state.previous_rate = state.calls / state.window_s if is_recent else 0.0
            state.calls, state.window_began_at, state.window_s, window_age_s = 0, now, LONG_LEASE_DURATION_S, 0.0
        state.calls += 1
        if 0.0 < state.refused_until - now <= _MAX_AHEAD_S:
            return self._refused_result(state, limit, now, cost_s)
        rate = max(state.calls / max(window_age_s, LEASE_DURATION_S), state.previous_rate)
        lease_s, duration_s = _size_lease(state, limit, now, cost_s, rate)
        if lease_s >= cost_s and self._take_lease(state, limit, now, lease_s, duration_s):
            state.lease_left_s -= cost_s
            # Start to count calls anew with the lease, so that their number decides the size of the next one.
            state.previous_rate, state.calls, state.window_began_at, state.window_s = rate, 1, now, duration_s
            return self._admitted_result(state, limit, now)
        admitted, state.tat = self._counters.spend(state.counter_key, now, cost_s, now + limit.burst_tolerance_s)
        if admitted:
            return self._admitted_result(state, limit, now)
        state.refused_until = min(now + _MAX_REFUSAL_S, state.tat + limit.emission_interval_s - limit.burst_tolerance_s)
        return self._refused_result(state, limit, now, cost_s)

    def _take_lease(self, state: _KeyState, limit: Limit, now: float, lease_s: float, duration_s: float) -> bool:
        has_lease, tat = self._counters.spend(
            state.counter_key, now + duration_s, lease_s, now + limit.burst_tolerance_s
        )
        if has_lease:
            # Add a millionth of a call, or rounding could leave too little for the last call.
            state.tat, state.lease_left_s = tat, lease_s + 1e-6 * limit.emission_interval_s
            state.lease_ends_at = now + duration_s
        return has_lease

    def _admitted_result(self, state: _KeyState, limit: Limit, now: float) -> LimitResult:
        ahead_s = state.tat - now if state.tat > now else 0.0
        left_s = limit.burst_tolerance_s - ahead_s + (state.lease_left_s if now < state.lease_ends_at else 0.0)
        remaining = int(left_s / limit.emission_interval_s + 1e-6) if left_s > 0.0 else 0
        return LimitResult(True, limit, remaining, ahead_s, 0.0, state.lease_ends_at, state.tat)

    def _refused_result(self, state: _KeyState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        ahead_s = max(0.0, state.tat - now)
        return LimitResult(False, limit, 0, ahead_s, max(0.001, ahead_s + cost_s - limit.burst_tolerance_s))

    def _get_state(self, key: str, limit: Limit) -> _KeyState:
        state = self._keys.get(key)
        if state is not None and state.limit is not limit and state.limit == limit:
            state.limit = limit  # two routes of a group have equal limits
        elif state is None or state.limit is not limit:
            if len(self._keys) >= _MAX_KEYS:
                with contextlib.suppress(KeyError):  # another thread removed it first
                    self._keys.popitem(last=False)
            state = self._keys[key] = _KeyState(limit, f"{key}|{limit}")
        return state


def _size_lease(state: _KeyState, limit: Limit, now: float, cost_s: float, rate: float) -> tuple[float, float]:
    """Return the size of a lease in seconds of budget, 0 for no lease, and its duration in seconds.

    :param rate: calls per second of this caller in this process.
    """
    if rate >= _HOT_RATE:
        available_s = limit.burst_tolerance_s - LEASE_DURATION_S - max(0.0, state.tat - now - LEASE_DURATION_S)
        lease_s = min(1.25 * rate * LEASE_DURATION_S * cost_s, _MAX_LEASE_BUDGET_S, available_s / 2)
        duration_s, min_lease_s = LEASE_DURATION_S, 4 * limit.emission_interval_s
    elif state.previous_rate >= _STEADY_RATE and limit.burst_tolerance_s >= _MIN_STEADY_BURST_S:
        left_s = limit.burst_tolerance_s * _STEADY_SHARE - max(0.0, state.tat - now - LONG_LEASE_DURATION_S)
        lease_s = min(2 * rate * LONG_LEASE_DURATION_S * cost_s, _MAX_LEASE_BUDGET_S, left_s)  # few calls vary more
        duration_s, min_lease_s = LONG_LEASE_DURATION_S, 2 * limit.emission_interval_s
    else:
        return 0.0, 0.0
    if lease_s < min_lease_s:  # the budget is nearly empty, or the burst small
        return 0.0, 0.0
    return math.floor(lease_s / cost_s) * cost_s, duration_s  # whole calls: a remainder would be lost
