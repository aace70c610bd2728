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

from .circuit import Circuit
from .counters import Counters
from .limit import LEASE_SECONDS, Limit

_HOT = 20  # calls within one lease's life that make a key worth leasing
_MOST_KEYS = 20_000
_LEASED = 5.0  # seconds of budget that a lease takes at the most: what it leaves has to come back before it is there
_SURE = 2 * LEASE_SECONDS  # seconds of budget that cannot have come back by themselves while a lease may be out


@dataclass(slots=True)  # not frozen: that would cost 0.5 us for each call
class Spent:
    """The verdict on one call, and what the RateLimit fields say."""

    admitted: bool
    limit: Limit
    remaining: int
    reset: float  # seconds until the whole budget is there again
    retry_after: float  # seconds; 0 where admitted
    lease_ends: float = 0.0  # of the lease that was held then,
    tat: float = 0.0  # and the TAT that the call left: what must be unchanged when it is undone


@dataclass(slots=True)
class _Key:
    """What this process knows of a key; a hint, except for the lease, which is its own.

    ``name`` is the counters' for it. It has the limit in it: what was spent of one limit says nothing of another.
    """

    limit: Limit
    name: str
    left: float = 0.0  # seconds of budget that the lease still holds
    lease_ends: float = 0.0
    tat: float = 0.0
    refused_until: float = 0.0  # for single calls: the TAT only grows, so a refusal stands until then
    window_began: float = 0.0
    calls: int = 0
    calls_before: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Limiter:
    """Spends from limits; safe for threads. Times are seconds since 1970, from the caller."""

    def __init__(self, counters: Counters) -> None:
        self._counters = Circuit(counters)
        self._keys: OrderedDict[str, _Key] = OrderedDict()

    def spend(self, key: str, limit: Limit, now: float, cost: int = 1) -> Spent:
        """Take ``cost`` calls from the budget of ``key``. A refused call takes nothing.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known = self._known(key, limit)
        with known.lock:
            return self._spend(known, limit, now, cost * limit.emission)

    def spend_lease(self, key: str, limit: Limit, now: float, cost: int = 1) -> tuple[int, float] | None:
        """Take ``cost`` calls from the lease that this process holds, as ``spend`` does where there is one.

        The usual case of a hot key, and so all in one place and without a ``Spent``: what remains, and the seconds
        until the whole budget is there again. None, and nothing taken, where no lease pays: ``spend`` then.
        """
        known = self._keys.get(key)
        if known is None or known.limit is not limit:
            return None
        with known.lock:
            if now >= known.lease_ends or (left := known.left - cost * limit.emission) < 0.0:
                return None
            known.calls += 1
            known.left = left
            ahead = known.tat - now
        if ahead < 0.0:
            ahead = 0.0
        left += limit.tolerance - ahead
        return int(left / limit.emission + 1e-6) if left > 0.0 else 0, ahead

    def refusal(self, key: str, limit: Limit, now: float, cost: int = 1) -> Spent | None:
        """The refusal that stands already, told without a look at the counters; None where nobody knows of one."""
        known, seconds = self._keys.get(key), cost * limit.emission
        if known is None or known.limit != limit or now >= known.refused_until:
            return None
        if now < known.lease_ends and known.left >= seconds:
            return None
        return self._refused(known, limit, now, seconds)

    def look(self, key: str, limit: Limit, now: float) -> Spent:
        """What remains of a budget; takes nothing.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known = self._known(key, limit)
        with known.lock:
            if now >= known.lease_ends:
                known.tat = self._counters.read(known.name, now)
            told = self._admitted(known, limit, now)
        short = 0.0 if told.remaining else max(0.0, known.tat - now + limit.emission - limit.tolerance)
        return Spent(told.remaining > 0, limit, told.remaining, told.reset, short)

    def refund(self, key: str, limit: Limit, cost: int = 1) -> None:
        """Give back what a call took a moment ago that should not count after all.

        Only where it is dear enough that it cannot have come back by itself meanwhile: what came back twice could
        be spent twice.
        """
        seconds = cost * limit.emission
        if seconds < _SURE:
            return
        known = self._known(key, limit)
        with known.lock:
            self._counters.refund(known.name, seconds, None)
            known.refused_until = 0.0

    def undo(self, key: str, spent: Spent, now: float, cost: int = 1) -> None:
        """Give back what has just been taken, unless others moved the key since: exact at any rate.

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        known, seconds = self._known(key, spent.limit), cost * spent.limit.emission
        with known.lock:
            if now < known.lease_ends == spent.lease_ends:
                known.left += seconds  # it was charged at the lease's end or later, so it may come until then
            elif known.tat == spent.tat and self._counters.refund(known.name, seconds, spent.tat):
                known.tat -= seconds

    def close(self) -> None:
        self._keys.clear()
        self._counters.close()

    def prune(self, now: float) -> None:
        self._counters.prune(now)

    def _spend(self, known: _Key, limit: Limit, now: float, cost: float) -> Spent:
        if now < known.lease_ends and known.left >= cost:
            known.calls += 1
            known.left -= cost
            return self._admitted(known, limit, now)
        if now - known.window_began >= LEASE_SECONDS:
            recent = now - known.window_began < 2 * LEASE_SECONDS
            known.calls_before, known.calls, known.window_began = known.calls if recent else 0, 0, now
        known.calls += 1
        if now < known.refused_until:
            return self._refused(known, limit, now, cost)
        if max(known.calls, known.calls_before) >= _HOT and self._lease(known, limit, now, cost):
            return self._admitted(known, limit, now)
        admitted, known.tat = self._counters.spend(known.name, now, cost, now + limit.tolerance)
        if admitted:
            return self._admitted(known, limit, now)
        known.refused_until = min(now + 1.0, known.tat + limit.emission - limit.tolerance)
        return self._refused(known, limit, now, cost)

    def _lease(self, known: _Key, limit: Limit, now: float, cost: float) -> bool:
        wanted = max(known.calls, known.calls_before) * 1.25 * cost
        room = limit.tolerance - LEASE_SECONDS - max(0.0, known.tat - now - LEASE_SECONDS)
        taken = math.floor(min(wanted, room / 2, _LEASED) / cost) * cost  # whole calls: what is left over is lost
        if taken < max(cost, 4 * limit.emission):
            return False  # nearly empty, or a small burst: one statement for each call
        leased, tat = self._counters.spend(known.name, now + LEASE_SECONDS, taken, now + limit.tolerance)
        if leased:
            # A millionth of a call more than was taken, or rounding would leave the last call unpaid.
            known.tat, known.left = tat, taken - cost + 1e-6 * limit.emission
            known.lease_ends = now + LEASE_SECONDS
            # While it lasts, calls are only counted: a window of its own, so that the next lease fits them.
            known.calls_before, known.calls, known.window_began = max(known.calls, known.calls_before), 1, now
        return leased

    def _admitted(self, known: _Key, limit: Limit, now: float) -> Spent:
        ahead = known.tat - now if known.tat > now else 0.0
        left = limit.tolerance - ahead + (known.left if now < known.lease_ends else 0.0)
        remaining = int(left / limit.emission + 1e-6) if left > 0.0 else 0
        return Spent(True, limit, remaining, ahead, 0.0, known.lease_ends, known.tat)

    def _refused(self, known: _Key, limit: Limit, now: float, cost: float) -> Spent:
        ahead = max(0.0, known.tat - now)
        return Spent(False, limit, 0, ahead, max(0.001, ahead + cost - limit.tolerance))

    def _known(self, key: str, limit: Limit) -> _Key:
        known = self._keys.get(key)
        if known is not None and known.limit is not limit and known.limit == limit:
            known.limit = limit  # two routes of a group say the same
        elif known is None or known.limit is not limit:
            if len(self._keys) >= _MOST_KEYS:
                with contextlib.suppress(KeyError):  # another thread was first
                    self._keys.popitem(last=False)
            known = self._keys[key] = _Key(limit, f"{key}|{limit}")
        return known
