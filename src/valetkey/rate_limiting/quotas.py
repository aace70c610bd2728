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
from valetkey.storage.engine.circuit_breaker import CircuitBreaker
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable

from .quota import Quota

SLICE_TTL_S = 2.0
_MAX_SLICE_CALLS = 500
_SLICE_DIVISOR = 16  # a slice is at most this part of what is left: so many processes can hold one each
_MAX_TRIES = 8
_MAX_SLICES = 20_000
_log = logging.getLogger("valetkey")


@dataclass(slots=True)
class QuotaResult:
    """The verdict on one call, and what the RateLimit fields say."""

    is_admitted: bool
    quota: Quota
    remaining: int
    period_s: float  # seconds that the whole period has
    reset_after: float  # seconds until it ends


@dataclass(slots=True)
class _QuotaSlice:
    calls_left: int = 0  # calls that this process may let through
    period_begins_at: float = 0.0
    period_ends_at: float = 0.0  # of the quota's period
    total_taken: int = 0  # of the quota, by all processes, when the store was last asked
    size: int = 1
    taken_at: float = 0.0
    used_at: float = 0.0
    exhausted_until: float = 0.0  # a refusal is asked for again once a second: others may have given back
    lock: threading.Lock = field(default_factory=threading.Lock)


class Quotas:
    """Takes calls from quotas; safe for threads. Times are seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float], wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake  # whoever calls give_back_idle once a second
        self._breaker = CircuitBreaker(
            "the store of quotas"
        )  # else all who wait for a slice would wait one after the other
        self._slices: dict[tuple[str, str], _QuotaSlice] = {}

    def spend(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaResult:
        """Take ``cost`` calls from the app's quota. A refused call takes nothing.

        :raises StoreUnavailable: where a slice is needed and the store cannot be written.
        """
        known = self._get_slice(client_id, quota)
        with known.lock:
            if not known.period_begins_at <= now < known.period_ends_at:
                self._start_period(known, quota, now)
            known.used_at = now
            admitted = known.calls_left >= cost or (
                now >= known.exhausted_until and self._request_calls(known, client_id, quota, cost)
            )
            if admitted:
                known.calls_left -= cost
            return _build_result(known, quota, now, admitted)

    def standing_refusal(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaResult | None:
        """The refusal that stands already; None where nobody knows of one."""
        known = self._slices.get((client_id, quota.unit))
        if (
            known is None
            or known.calls_left >= cost
            or not known.period_begins_at <= now < min(known.exhausted_until, known.period_ends_at)
        ):
            return None
        return _build_result(known, quota, now, is_admitted=False)

    def peek(self, client_id: str, quota: Quota, now: float) -> QuotaResult:
        """What remains; takes nothing. What other processes hold in slices counts as used until they give it back.

        :raises StoreUnavailable: where the store cannot be read.
        """
        period = quota.period_bounds(now)
        mine = self._slices.get((client_id, quota.unit))
        left = mine.calls_left if mine is not None and mine.period_begins_at == period[0] else 0
        remaining = max(0, quota.max_calls - quotas.find_charged(self._store, client_id, quota.unit, period[0]) + left)
        return QuotaResult(remaining > 0, quota, remaining, period[1] - period[0], period[1] - now)

    def return_idle_slices(self) -> None:
        """Give back the slices that have not been used for a while; for the background."""
        self._return_slices(self._clock() - SLICE_TTL_S)

    def return_all_slices(self) -> None:
        """For the end of the process."""
        self._return_slices(float("inf"))

    def _get_slice(self, client_id: str, quota: Quota) -> _QuotaSlice:
        key = (client_id, quota.unit)
        known = self._slices.get(key)
        if known is None:
            known = _QuotaSlice()
            if len(self._slices) < _MAX_SLICES:  # beyond that call by call: a first slice is one call
                known = self._slices.setdefault(key, known)
        return known

    def _start_period(self, quota_slice: _QuotaSlice, quota: Quota, now: float) -> None:
        """Another period: what is left of the one before is worth nothing now."""
        quota_slice.period_begins_at, quota_slice.period_ends_at = quota.period_bounds(now)
        quota_slice.calls_left = quota_slice.total_taken = 0
        quota_slice.size, quota_slice.exhausted_until = 1, 0.0

    def _request_calls(self, quota_slice: _QuotaSlice, client_id: str, quota: Quota, cost: int) -> bool:
        self._breaker.check()
        try:
            has_slice = self._take_slice(quota_slice, client_id, quota, cost)
        except StoreUnavailable:
            self._breaker.trip()
            raise
        self._breaker.reset()
        return has_slice

    def _take_slice(self, quota_slice: _QuotaSlice, client_id: str, quota: Quota, cost: int) -> bool:
        """Take a slice that is enough for this call, and for more where calls come fast."""
        now, period = quota_slice.used_at, (quota_slice.period_begins_at, quota_slice.period_ends_at)
        quota_slice.size = (
            min(quota_slice.size * 2, _MAX_SLICE_CALLS) if now - quota_slice.taken_at < SLICE_TTL_S else 1
        )
        missing = cost - quota_slice.calls_left
        for _ in range(_MAX_TRIES):
            wanted = max(missing, min(quota_slice.size, (quota.max_calls - quota_slice.total_taken) // _SLICE_DIVISOR))
            taken = quotas.charge(self._store, client_id, quota.unit, period, wanted, quota.max_calls)
            if taken is not None:
                quota_slice.total_taken, quota_slice.taken_at = taken, now
                quota_slice.calls_left += wanted
                if quota_slice.calls_left > cost:
                    self._wake()
                return True
            quota_slice.total_taken = quotas.find_charged(
                self._store, client_id, quota.unit, quota_slice.period_begins_at
            )
            if quota.max_calls - quota_slice.total_taken < missing:
                break
        quota_slice.exhausted_until = now + 1.0
        return False

    def _return_slices(self, used_before: float) -> None:
        rows, given = [], []
        for key, known in list(self._slices.items()):
            if known.used_at > used_before:
                continue
            with known.lock:
                if known.used_at > used_before:
                    continue
                if known.calls_left:
                    rows.append(quotas.refund(*key, known.period_begins_at, known.calls_left))
                    given.append((known, known.period_begins_at, known.calls_left))
                    known.total_taken -= known.calls_left
                    known.calls_left = 0
                elif self._slices.get(key) is known:
                    del self._slices[key]
        if rows:
            try:
                quotas.write_refunds(self._store, tuple(rows))
            except StoreUnavailable as problem:
                _log.warning("quotas: %d calls could not be given back: %s", sum(one[2] for one in given), problem)
                for known, begins_at, left in given:
                    self._restore_calls(known, begins_at, left)

    def _restore_calls(self, quota_slice: _QuotaSlice, begins_at: float, calls_left: int) -> None:
        with quota_slice.lock:
            if quota_slice.period_begins_at == begins_at:
                quota_slice.calls_left += calls_left
                quota_slice.total_taken += calls_left


def _build_result(quota_slice: _QuotaSlice, quota: Quota, now: float, is_admitted: bool) -> QuotaResult:
    remaining = max(0, quota.max_calls - quota_slice.total_taken + quota_slice.calls_left) if is_admitted else 0
    return QuotaResult(
        is_admitted,
        quota,
        remaining,
        quota_slice.period_ends_at - quota_slice.period_begins_at,
        quota_slice.period_ends_at - now,
    )
