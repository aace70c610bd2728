"""Counting of quotas, exact over all processes: each process reserves some calls in the database at a time.

The calls of a client's quota that a process has reserved are a slice: the process admits them from memory. The database
commits a slice before the first of its calls is admitted, so no crash and no race admits more than the quota. A process
returns what it does not use within ``SLICE_TTL_S``. Lost are the slices of a process that is killed, and those that may
have been returned when the connection to the database broke. Slices grow with the traffic, and shrink to single calls
towards the end of the quota.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from valetkey.storage import quotas
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.circuit_breaker import CircuitBreaker
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable

from .quota import Quota

SLICE_TTL_S = 2.0
_EXHAUSTED_S = 1.0  # how long calls are refused without asking the store again
_MAX_SLICE_CALLS = 500
_SLICE_DIVISOR = 16  # a slice is at most 1/16 of what is left, so that 16 processes can have one each
_MAX_TRIES = 8
_MAX_SLICES = 20_000
_log = logging.getLogger("valetkey")


@dataclass(slots=True)
class QuotaResult:
    """Whether a quota admits one call, and the numbers for the RateLimit header fields."""

    is_admitted: bool
    quota: Quota
    remaining: int
    period_s: float  # length of the whole period in seconds
    reset_after: float  # seconds until the period ends


@dataclass(slots=True)
class _QuotaSlice:
    """The calls of a client's quota that this process has reserved, and may admit without asking the database."""

    calls_left: int = 0
    period_begins_at: float = 0.0
    period_ends_at: float = 0.0
    total_taken: int = 0  # calls that all processes have taken, as the store last said
    size: int = 1
    taken_at: float = 0.0
    used_at: float = 0.0
    exhausted_until: float = 0.0  # calls that cost more than was left are refused without asking the store until then
    lock: threading.Lock = field(default_factory=threading.Lock)


class Quotas:
    """Charges calls to the quotas of clients. ``now`` is in seconds since 1970.

    Safe for threads; a forked child process reserves calls of its own.
    """

    def __init__(self, store: Store, clock: Callable[[], float], wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake  # ensures that a thread calls return_idle_slices every second
        # Without it, all calls that need a slice would wait for the store's timeout, one after the other.
        self._breaker = CircuitBreaker("the database of the quotas")
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self._slices: dict[tuple[str, str], _QuotaSlice] = {}

    def spend(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaResult:
        """Charge ``cost`` calls to the client's quota, and return whether the quota admits them.

        A refused call is not charged.

        :raises StoreUnavailable: if calls must be reserved in the database, and it cannot be written.
        """
        quota_slice = self._get_slice(client_id, quota)
        with quota_slice.lock:
            if not quota_slice.period_begins_at <= now < quota_slice.period_ends_at:
                self._start_period(quota_slice, quota, now)
            quota_slice.used_at = now
            is_admitted = quota_slice.calls_left >= cost or (
                not _is_exhausted(quota_slice, quota, now, cost)
                and self._request_calls(quota_slice, client_id, quota, cost)
            )
            if is_admitted:
                quota_slice.calls_left -= cost
            return _build_result(quota_slice, quota, now, is_admitted)

    def standing_refusal(self, client_id: str, quota: Quota, now: float, cost: int = 1) -> QuotaResult | None:
        """Return the refused result if too few calls were found to be left within the last second; else ``None``.

        Does not read the database.
        """
        quota_slice = self._slices.get((client_id, quota.unit))
        if (
            quota_slice is None
            or not quota_slice.period_begins_at <= now < quota_slice.period_ends_at
            or not _is_exhausted(quota_slice, quota, now, cost)
        ):
            return None
        return _build_result(quota_slice, quota, now, is_admitted=False)

    def peek(self, client_id: str, quota: Quota, now: float) -> QuotaResult:
        """Return what remains of the client's quota, and whether a call would be admitted now. Nothing is charged.

        Calls that other processes have reserved count as used until they are returned.

        :raises StoreUnavailable: if the database cannot be read.
        """
        period = quota.period_bounds(now)
        quota_slice = self._slices.get((client_id, quota.unit))
        calls_left = (
            quota_slice.calls_left if quota_slice is not None and quota_slice.period_begins_at == period[0] else 0
        )
        remaining = max(
            0, quota.max_calls - quotas.find_charged(self._store, client_id, quota.unit, period[0]) + calls_left
        )
        return QuotaResult(remaining > 0, quota, remaining, period[1] - period[0], period[1] - now)

    def return_idle_slices(self) -> None:
        """Return reserved calls of clients that made none for ``SLICE_TTL_S`` to the database. Run once a second."""
        now = self._clock()
        self._return_slices(lambda quota_slice: abs(now - quota_slice.used_at) >= SLICE_TTL_S)

    def return_all_slices(self) -> None:
        """Return all reserved calls that were not used to the database. Called when the process exits."""
        self._return_slices(lambda _: True)

    def _get_slice(self, client_id: str, quota: Quota) -> _QuotaSlice:
        key = (client_id, quota.unit)
        quota_slice = self._slices.get(key)
        if quota_slice is None:
            quota_slice = _QuotaSlice()
            if len(self._slices) < _MAX_SLICES:  # above that it is not cached, so each call takes a slice of one call
                quota_slice = self._slices.setdefault(key, quota_slice)
        return quota_slice

    def _start_period(self, quota_slice: _QuotaSlice, quota: Quota, now: float) -> None:
        """Reset a client's reserved calls for a new day or month. Calls that are left of the previous period expire."""
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
        """Reserve calls in the database: enough for a call of this cost, and more if calls come fast.

        Returns whether the calls were reserved; false if too few are left of the quota.
        """
        now, period = quota_slice.used_at, (quota_slice.period_begins_at, quota_slice.period_ends_at)
        quota_slice.size = (
            min(quota_slice.size * 2, _MAX_SLICE_CALLS) if abs(now - quota_slice.taken_at) < SLICE_TTL_S else 1
        )
        missing = cost - quota_slice.calls_left
        for _ in range(_MAX_TRIES):
            requested = max(
                missing, min(quota_slice.size, (quota.max_calls - quota_slice.total_taken) // _SLICE_DIVISOR)
            )
            total_taken = quotas.charge(self._store, client_id, quota.unit, period, requested, quota.max_calls)
            if total_taken is not None:
                quota_slice.total_taken, quota_slice.taken_at = total_taken, now
                quota_slice.calls_left += requested
                if quota_slice.calls_left > cost:
                    self._wake()
                return True
            quota_slice.total_taken = quotas.find_charged(
                self._store, client_id, quota.unit, quota_slice.period_begins_at
            )
            if quota.max_calls - quota_slice.total_taken < missing:
                break
        quota_slice.exhausted_until = now + _EXHAUSTED_S  # then ask again: other processes may have returned calls
        return False

    def _return_slices(self, is_idle: Callable[[_QuotaSlice], bool]) -> None:
        returned: list[tuple[tuple[str, str], _QuotaSlice, float, int]] = []
        for key, quota_slice in list(self._slices.items()):
            if not is_idle(quota_slice):
                continue
            with quota_slice.lock:
                if not is_idle(quota_slice):
                    continue
                if quota_slice.calls_left:
                    returned.append((key, quota_slice, quota_slice.period_begins_at, quota_slice.calls_left))
                    quota_slice.total_taken -= quota_slice.calls_left
                    quota_slice.calls_left = 0
                elif self._slices.get(key) is quota_slice:
                    del self._slices[key]
        if returned:
            self._write_refunds(returned)

    def _write_refunds(self, returned: list[tuple[tuple[str, str], _QuotaSlice, float, int]]) -> None:
        """Return reserved calls to the database. They count as used if it is unknown whether they were returned.

        :param returned: client and unit of the quota, slice, begin of its period, and number of calls.
        """
        returned.sort(key=lambda item: item[0])  # the same order in all processes, so that row locks cannot deadlock
        refunds = tuple(quotas.refund(*key, begins_at, calls_left) for key, _, begins_at, calls_left in returned)
        try:
            quotas.write_refunds(self._store, refunds)
        except StoreUnavailable as error:
            is_restored = not error.may_be_written  # otherwise they may have been returned, and be spent again
            calls = sum(calls_left for *_, calls_left in returned)
            outcome = "could not be returned to the store yet" if is_restored else "may be lost to their clients"
            _log.warning("quotas: %d unused calls %s: %s", calls, outcome, error)
            if is_restored:
                for _, quota_slice, begins_at, calls_left in returned:
                    _restore_calls(quota_slice, begins_at, calls_left)


def _restore_calls(quota_slice: _QuotaSlice, begins_at: float, calls_left: int) -> None:
    with quota_slice.lock:
        if quota_slice.period_begins_at == begins_at:
            quota_slice.calls_left += calls_left
            quota_slice.total_taken += calls_left


def _is_exhausted(quota_slice: _QuotaSlice, quota: Quota, now: float, cost: int) -> bool:
    """Return whether less than ``cost`` was found to be left of a quota within the last second."""
    return 0.0 < quota_slice.exhausted_until - now <= _EXHAUSTED_S and cost > _count_remaining(quota_slice, quota)


def _count_remaining(quota_slice: _QuotaSlice, quota: Quota) -> int:
    return max(0, quota.max_calls - quota_slice.total_taken + quota_slice.calls_left)


def _build_result(quota_slice: _QuotaSlice, quota: Quota, now: float, is_admitted: bool) -> QuotaResult:
    return QuotaResult(
        is_admitted,
        quota,
        _count_remaining(quota_slice, quota),
        quota_slice.period_ends_at - quota_slice.period_begins_at,
        quota_slice.period_ends_at - now,
    )
