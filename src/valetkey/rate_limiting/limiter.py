"""Rate limiter: GCRA (generic cell rate algorithm) on counters that all processes share, with leases for busy callers.

A limit of n calls per period with burst b admits at most ``b + n * t / period`` calls in any ``t`` seconds, over all
processes. The counter of each caller is its theoretical arrival time (TAT): the time when its whole budget is available
again. Each call moves the TAT by one emission interval (period / n), and is admitted if the TAT is then at most b
intervals ahead of now.

A lease is k calls that a process spends from the counter in one step, and may then admit from memory for d seconds. It
is charged as if all its calls came at its end: the TAT moves on from ``max(tat, now + d)``. So each call is charged at
or after the time when it comes, and the bound holds as for single calls. Calls of a lease that are not used are lost,
never spent twice. Leases of steady callers are renewed in the background, see ``lease_renewal.py``.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from valetkey.storage.engine.after_fork import call_after_fork

from .backends.circuit_breaker_counters import CircuitBreakerCounters
from .backends.counters import Counters
from .caller_state import MAX_AHEAD_S, CallerState, Lease, size_lease
from .lease_renewal import LeaseRenewal
from .limit import LONG_LEASE_DURATION_S, MAX_CALL_AGE_S, MAX_CLOCK_OFFSET_S, Limit

_MAX_KEYS = 20_000
# The smallest refund, in seconds of budget: less may have been replenished already while a lease was in use.
_MIN_REFUND_S = 2 * LONG_LEASE_DURATION_S
_MAX_REFUSAL_S = 1.0  # how long calls are refused without reading the counter again


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


class Limiter:
    """Charges calls to rate limits.

    A ``key`` names what is limited, such as a route and a client; each key has a budget. Safe for threads; a forked
    child process has leases of its own. ``now`` is in seconds since 1970.

    :param clock: the clock that ``now`` was read from. A call that is counted more than ``MAX_CALL_AGE_S`` after its
        ``now``, because the process was stopped meanwhile, is counted as of the clock's time. Without a clock, ``now``
        counts.
    :param renews_in_background: whether a thread renews the leases of steady callers; else call ``renewal.renew()``.
    """

    def __init__(
        self, counters: Counters, clock: Callable[[], float] = lambda: 0.0, *, renews_in_background: bool = False
    ) -> None:
        self._counters = CircuitBreakerCounters(counters)
        self._clock = clock
        self._renews_in_background = renews_in_background
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self._keys: OrderedDict[str, CallerState] = OrderedDict()
        self.renewal = LeaseRenewal(self._counters, self._clock, in_background=self._renews_in_background)

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
        cost_s = cost * limit.emission_interval_s
        with state.lock:
            left_s = state.lease_left_s - cost_s
            if 0.0 < state.renew_at - now <= MAX_AHEAD_S and left_s >= state.renew_below_s:
                state.calls += 1
                state.lease_left_s = left_s
            elif self._use_lease(state, now, cost_s):
                left_s = state.lease_left_s
            else:
                return None
            ahead_s = state.tat - now
        if ahead_s < 0.0:
            ahead_s = 0.0
        left_s += limit.burst_tolerance_s - ahead_s
        return int(left_s / limit.emission_interval_s + 1e-6) if left_s > 0.0 else 0, ahead_s

    def standing_refusal(self, key: str, limit: Limit, now: float, cost: int = 1) -> LimitResult | None:
        """Return the result if it is certain, without reading the counter, that the call is refused; else ``None``."""
        state, cost_s = self._keys.get(key), cost * limit.emission_interval_s
        if state is None or state.limit != limit or not 0.0 < state.refused_until - now <= MAX_AHEAD_S:
            return None
        if state.has_next_lease(now) or (
            0.0 < state.lease_ends_at - now <= MAX_AHEAD_S and state.lease_left_s >= cost_s
        ):
            return None
        return self._refused_result(state, limit, now, cost_s)

    def peek(self, key: str, limit: Limit, now: float) -> LimitResult:
        """Return what remains of the budget of ``key``, and whether a call would be admitted now. Nothing is charged.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        state = self._get_state(key, limit)
        with state.lock:
            state.drop_future_leases(now)
            if now >= state.lease_ends_at:
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
        self.renewal.close()
        self._counters.close()

    def prune(self, now: float) -> None:
        """Delete the counters whose whole budget is available again at ``now``, in seconds since 1970."""
        self._counters.prune(now)

    def _spend(self, state: CallerState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        if self._use_lease(state, now, cost_s):
            return self._admitted_result(state, limit, now)
        if (current := self._clock()) - now > MAX_CALL_AGE_S:
            now = current
        state.drop_future_leases(now)
        if not 0.0 <= now - state.window_began_at < state.window_s:
            state.begin_window(now)
        state.calls += 1
        if 0.0 < state.refused_until - now <= MAX_AHEAD_S:
            return self._refused_result(state, limit, now, cost_s)
        rate = max(state.measure_rate(now), state.previous_rate)
        lease_s, duration_s = size_lease(state, limit, now, cost_s, rate)
        if lease_s >= cost_s:
            ends_at = now + duration_s
            has_lease, tat = self._counters.spend(state.counter_key, ends_at, lease_s, now + limit.burst_tolerance_s)
            if has_lease:
                state.begin_lease(Lease.of(limit, lease_s, ends_at, tat), now, rate, duration_s)
                self._use_lease(state, now, cost_s)
                return self._admitted_result(state, limit, now)
        admitted, state.tat = self._counters.spend(state.counter_key, now, cost_s, now + limit.burst_tolerance_s)
        if admitted:
            return self._admitted_result(state, limit, now)
        state.refused_until = min(now + _MAX_REFUSAL_S, state.tat + limit.emission_interval_s - limit.burst_tolerance_s)
        return self._refused_result(state, limit, now, cost_s)

    def _use_lease(self, state: CallerState, now: float, cost_s: float) -> bool:
        """Charge a call to the lease if enough is left of it, or of the next one, which then begins."""
        has_ended = not 0.0 < state.lease_ends_at - now <= MAX_AHEAD_S
        if (has_ended or state.lease_left_s < cost_s) and not state.begin_next_lease(now, cost_s):
            return False
        state.calls += 1
        state.lease_left_s -= cost_s
        if state.is_renewal_due(now):
            self.renewal.request(state, now, cost_s)
        return True

    def _admitted_result(self, state: CallerState, limit: Limit, now: float) -> LimitResult:
        ahead_s = state.tat - now if state.tat > now else 0.0
        left_s = limit.burst_tolerance_s - ahead_s + (state.lease_left_s if now < state.lease_ends_at else 0.0)
        remaining = int(left_s / limit.emission_interval_s + 1e-6) if left_s > 0.0 else 0
        return LimitResult(True, limit, remaining, ahead_s, 0.0, state.lease_ends_at, state.tat)

    def _refused_result(self, state: CallerState, limit: Limit, now: float, cost_s: float) -> LimitResult:
        ahead_s = max(0.0, state.tat - now)
        return LimitResult(False, limit, 0, ahead_s, max(0.001, ahead_s + cost_s - limit.burst_tolerance_s))

    def _get_state(self, key: str, limit: Limit) -> CallerState:
        state = self._keys.get(key)
        if state is not None and state.limit is not limit and state.limit == limit:
            state.limit = limit  # two routes of a group have equal limits
        elif state is None or state.limit is not limit:
            if len(self._keys) >= _MAX_KEYS:
                with contextlib.suppress(KeyError):  # another thread removed it first
                    self._keys.popitem(last=False)
            state = self._keys[key] = CallerState(limit, f"{key}|{limit}")
        return state
