"""Quotas, counted exactly over all processes: each takes slices from the store and spends them from memory.

A slice is taken durably before the first of its calls is let through, so no crash and no race lets through more than
the quota. What a process does not use within ``SLICE_SECONDS`` it gives back; a process that is killed takes its
slices along. Slices grow with the traffic and shrink to single calls towards the end of the quota.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from valetkey.storage import quotas
from valetkey.storage.engine.circuit_breaker import Rest
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable

from .quota import Quota

SLICE_SECONDS = 2.0
_LARGEST = 500
_SHARE = 16  # a slice is at most this part of what is left: so many processes can hold one each
_TRIES = 8
_MOST_APPS = 20_000
_log = logging.getLogger("valetkey")


@dataclass(slots=True)
class QuotaSpent:
    """The verdict on one call, and what the RateLimit fields say."""

    admitted: bool
    quota: Quota
    remaining: int
    period: float  # seconds that the whole period has
    reset: float  # seconds until it ends


@dataclass(slots=True)
class _Slice:
    left: int = 0  # calls that this process may let through
    begins_at: float = 0.0
    ends_at: float = 0.0  # of the quota's period
    taken: int = 0  # of the quota, by all processes, when the store was last asked
    size: int = 1
    took_at: float = 0.0
    used_at: float = 0.0
    used_up_until: float = 0.0  # a refusal is asked for again once a second: others may have given back
    lock: threading.Lock = field(default_factory=threading.Lock)


class Quotas:
    """Takes calls from quotas; safe for threads. Times are seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float], wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake  # whoever calls give_back_idle once a second
        self._rest = Rest("the store of quotas")  # else all who wait for a slice would wait one after the other
        self._slices: dict[tuple[str, str], _Slice] = {}

    def take(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaSpent:
        """Take ``cost`` calls from the app's quota. A refused call takes nothing.

        :raises StoreUnavailable: where a slice is needed and the store cannot be written.
        """
        known = self._known(client_id, quota)
        with known.lock:
            if not known.begins_at <= now < known.ends_at:
                self._begin(known, quota, now)
            known.used_at = now
            admitted = known.left >= cost or (now >= known.used_up_until and self._ask(known, client_id, quota, cost))
            if admitted:
                known.left -= cost
            return _told(known, quota, now, admitted)

    def refusal(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaSpent | None:
        """The refusal that stands already; None where nobody knows of one."""
        known = self._slices.get((client_id, quota.unit))
        if known is None or known.left >= cost or not known.begins_at <= now < min(known.used_up_until, known.ends_at):
            return None
        return _told(known, quota, now, admitted=False)

    def look(self, client_id: str, quota: Quota, now: float) -> QuotaSpent:
        """What remains; takes nothing. What other processes hold in slices counts as used until they give it back.

        :raises StoreUnavailable: where the store cannot be read.
        """
        period = quota.period(now)
        mine = self._slices.get((client_id, quota.unit))
        left = mine.left if mine is not None and mine.begins_at == period[0] else 0
        remaining = max(0, quota.n - quotas.taken(self._store, client_id, quota.unit, period[0]) + left)
        return QuotaSpent(remaining > 0, quota, remaining, period[1] - period[0], period[1] - now)

    def give_back_idle(self) -> None:
        """Give back the slices that have not been used for a while; for the background."""
        self._give_back(self._clock() - SLICE_SECONDS)

    def give_back_all(self) -> None:
        """For the end of the process."""
        self._give_back(float("inf"))

    def _known(self, client_id: str, quota: Quota) -> _Slice:
        key = (client_id, quota.unit)
        known = self._slices.get(key)
        if known is None:
            known = _Slice()
            if len(self._slices) < _MOST_APPS:  # beyond that call by call: a first slice is one call
                known = self._slices.setdefault(key, known)
        return known

    def _begin(self, known: _Slice, quota: Quota, now: float) -> None:
        """Another period: what is left of the one before is worth nothing now."""
        known.begins_at, known.ends_at = quota.period(now)
        known.left = known.taken = 0
        known.size, known.used_up_until = 1, 0.0

    def _ask(self, known: _Slice, client_id: str, quota: Quota, cost: int) -> bool:
        self._rest.check_over()
        try:
            has_slice = self._cut(known, client_id, quota, cost)
        except StoreUnavailable:
            self._rest.begin()
            raise
        self._rest.end()
        return has_slice

    def _cut(self, known: _Slice, client_id: str, quota: Quota, cost: int) -> bool:
        """Take a slice that is enough for this call, and for more where calls come fast."""
        now, period = known.used_at, (known.begins_at, known.ends_at)
        known.size = min(known.size * 2, _LARGEST) if now - known.took_at < SLICE_SECONDS else 1
        missing = cost - known.left
        for _ in range(_TRIES):
            wanted = max(missing, min(known.size, (quota.n - known.taken) // _SHARE))
            taken = quotas.take(self._store, client_id, quota.unit, period, wanted, quota.n)
            if taken is not None:
                known.taken, known.took_at = taken, now
                known.left += wanted
                if known.left > cost:
                    self._wake()
                return True
            known.taken = quotas.taken(self._store, client_id, quota.unit, known.begins_at)
            if quota.n - known.taken < missing:
                break
        known.used_up_until = now + 1.0
        return False

    def _give_back(self, used_before: float) -> None:
        rows, given = [], []
        for key, known in list(self._slices.items()):
            if known.used_at > used_before:
                continue
            with known.lock:
                if known.used_at > used_before:
                    continue
                if known.left:
                    rows.append(quotas.give_back(*key, known.begins_at, known.left))
                    given.append((known, known.begins_at, known.left))
                    known.taken -= known.left
                    known.left = 0
                elif self._slices.get(key) is known:
                    del self._slices[key]
        if rows:
            try:
                quotas.write_back(self._store, tuple(rows))
            except StoreUnavailable as problem:
                _log.warning("quotas: %d calls could not be given back: %s", sum(one[2] for one in given), problem)
                for known, begins_at, left in given:
                    self._keep(known, begins_at, left)

    def _keep(self, known: _Slice, begins_at: float, left: int) -> None:
        with known.lock:
            if known.begins_at == begins_at:
                known.left += left
                known.taken += left


def _told(known: _Slice, quota: Quota, now: float, admitted: bool) -> QuotaSpent:
    remaining = max(0, quota.n - known.taken + known.left) if admitted else 0
    return QuotaSpent(admitted, quota, remaining, known.ends_at - known.begins_at, known.ends_at - now)
