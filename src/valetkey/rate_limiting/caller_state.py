"""The state of one caller's budget in this process: the counter as last read, and the leases of this process."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from .limit import LEASE_DURATION_S, LONG_LEASE_DURATION_S, RENEWAL_LEAD_S, Limit

# A caller with so many calls per second is hot, and gets leases of LEASE_DURATION_S.
_HOT_RATE = 40.0
# One with so many calls per second is steady. It gets longer leases of few calls, if the burst is worth so many seconds
# of budget. A lease reserves the budget of its duration, too; a caller that was active for so long has had as much in
# addition to its burst.
_STEADY_RATE, _MIN_STEADY_BURST_S = 2.0, 6.0
_NEW_STEADY_RATE = 5.0  # the same in the first LEASE_DURATION_S of a caller: so few calls may be more by chance
# Unused calls of steady leases are lost. They take up to this share of the burst; beyond it, calls are counted singly.
_STEADY_SHARE = 1 / 12
# The largest lease, in seconds of budget: what a process does not use is only available again after that time.
_MAX_LEASE_BUDGET_S = 5.0
_RENEWAL_SHARE = 0.25  # a steady lease is renewed once less than this share of its calls is left
MAX_AHEAD_S = 2.0  # a lease or a refusal that ends later than this was stored before the clock was set back


class Lease(NamedTuple):
    """Calls that a process may admit without the counter until a time, because the counter was charged for them."""

    left_s: float  # seconds of budget
    ends_at: float
    tat: float  # the counter after it was charged

    @classmethod
    def of(cls, limit: Limit, size_s: float, ends_at: float, tat: float) -> Lease:
        """Return a lease of whole calls, with a millionth more: rounding could leave too little for the last one."""
        return cls(size_s + 1e-6 * limit.emission_interval_s, ends_at, tat)


@dataclass(slots=True)
class CallerState:
    """The state of one caller's budget in this process: the counter as last read or changed, and the lease.

    The counter may have been changed by other processes since. The lease, the calls that this process may admit
    without the counter, belongs to this process only. ``counter_key`` is the counter's name in the backend; it contains
    the limit, so changing a limit starts a new counter. Methods are called under ``lock``.
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
    renew_below_s: float = 0.0  # the lease is renewed if less of it is left,
    renew_at: float = 0.0  # or at this time; its end if it is not to be renewed
    next_lease: Lease | None = None  # begins when the lease is used up or has ended
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_window(self, now: float) -> None:
        """Begin to count calls anew; their number so far is the rate of the window before, if that was just now."""
        is_recent = 0.0 <= now - self.window_began_at < 2 * self.window_s
        self.previous_rate = self.calls / self.window_s if is_recent else 0.0
        self.calls, self.window_began_at, self.window_s = 0, now, LONG_LEASE_DURATION_S

    def has_next_lease(self, now: float) -> bool:
        """Return whether there is a next lease that has not ended, and is not from before the clock was set back."""
        return self.next_lease is not None and 0.0 < self.next_lease.ends_at - now <= MAX_AHEAD_S

    def begin_next_lease(self, now: float, cost_s: float) -> bool:
        """Begin the next lease if there is one with enough budget for a call; return whether there is."""
        lease = self.next_lease
        if lease is None or not self.has_next_lease(now) or lease.left_s < cost_s:
            return False
        self.next_lease = None
        self.begin_lease(lease, now, self.measure_rate(now), LONG_LEASE_DURATION_S)
        return True

    def begin_lease(self, lease: Lease, now: float, rate: float, duration_s: float) -> None:
        """Begin a lease, and count calls anew with it, so that their number decides the size of the next one.

        :param rate: calls per second before.
        :param duration_s: how long the lease was meant to last; the next one may end later.
        """
        self.lease_left_s, self.lease_ends_at, self.tat = lease
        self.previous_rate, self.calls, self.window_began_at, self.window_s = rate, 0, now, duration_s
        is_renewed = rate < _HOT_RATE
        self.renew_below_s = _RENEWAL_SHARE * lease.left_s if is_renewed else 0.0
        self.renew_at = lease.ends_at - RENEWAL_LEAD_S if is_renewed else lease.ends_at

    def is_renewal_due(self, now: float) -> bool:
        """Return true once for each lease that is to be renewed: when it is nearly used up, or will soon end."""
        if self.renew_at == self.lease_ends_at or (now < self.renew_at and self.lease_left_s >= self.renew_below_s):
            return False
        self.renew_below_s, self.renew_at = 0.0, self.lease_ends_at
        return True

    def measure_rate(self, now: float) -> float:
        """Return the calls per second in this window so far."""
        return self.calls / max(now - self.window_began_at, LEASE_DURATION_S)

    def measure_steadiness(self, now: float) -> float:
        """Return for how long the caller may have a lease of few calls: as long as it was active, at most a second."""
        if self.previous_rate >= _STEADY_RATE:
            return LONG_LEASE_DURATION_S
        if now - self.window_began_at >= LEASE_DURATION_S and self.measure_rate(now) >= _NEW_STEADY_RATE:
            return LEASE_DURATION_S
        return 0.0

    def drop_future_leases(self, now: float) -> None:
        """Drop leases from before the clock was set back: the counter may start anew before the lease begins again."""
        if self.lease_ends_at - now > MAX_AHEAD_S:
            self.lease_left_s = self.lease_ends_at = self.renew_at = 0.0
        if self.next_lease is not None and self.next_lease.ends_at - now > MAX_AHEAD_S:
            self.next_lease = None


def size_lease(state: CallerState, limit: Limit, now: float, cost_s: float, rate: float) -> tuple[float, float]:
    """Return the size of a lease in seconds of budget, 0 for no lease, and its duration in seconds.

    :param rate: calls per second of this caller in this process.
    """
    if rate >= _HOT_RATE:
        available_s = limit.burst_tolerance_s - LEASE_DURATION_S - max(0.0, state.tat - now - LEASE_DURATION_S)
        lease_s = min(1.25 * rate * LEASE_DURATION_S * cost_s, _MAX_LEASE_BUDGET_S, available_s / 2)
        duration_s, min_lease_s = LEASE_DURATION_S, 4 * limit.emission_interval_s
    elif limit.burst_tolerance_s >= _MIN_STEADY_BURST_S and (duration_s := state.measure_steadiness(now)) > 0.0:
        left_s = limit.burst_tolerance_s * _STEADY_SHARE - max(0.0, state.tat - now - duration_s)
        lease_s = min(2 * rate * duration_s * cost_s, _MAX_LEASE_BUDGET_S, left_s)  # few calls vary more
        min_lease_s = 2 * limit.emission_interval_s
    else:
        return 0.0, 0.0
    if lease_s < min_lease_s:  # the budget is nearly empty, or the burst small
        return 0.0, 0.0
    return math.floor(lease_s / cost_s) * cost_s, duration_s  # whole calls: a remainder would be lost
