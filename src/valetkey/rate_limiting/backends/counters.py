"""``Counters``: the interface of counter backends, and the backend in memory.

Each caller of a limit has a counter, which has a name (its key). The counter's value is one number, the theoretical
arrival time (TAT) of GCRA (generic cell rate algorithm): the time, in seconds since 1970, when the caller's whole
budget is available again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.limit import MAX_CLOCK_OFFSET_S, MAX_LEASE_AHEAD_S

_MAX_KEYS = 100_000
_PRUNE_INTERVAL_S = 1.0  # if little can be removed


class Spend(NamedTuple):
    """The arguments of one call of ``Counters.spend``."""

    key: str
    min_tat: float
    cost_s: float
    max_tat: float


SpendResult = tuple[bool, float]  # what ``Counters.spend`` returns


class Counters(Protocol):
    """Interface of a counter backend. ``spend`` is atomic across all processes that share the backend."""

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        """Set a counter's theoretical arrival time to ``max(tat, min_tat) + cost_s``, unless that is after ``max_tat``.

        :param key: name of the counter. A new counter starts at ``min_tat``, as does one that is more than
            ``MAX_CLOCK_OFFSET_S`` later than ``max_tat``: it was written while a clock was fast.
        :param cost_s: what the call costs, in seconds. The other times are in seconds since 1970.
        :returns: whether the time was set, and the counter's time afterwards.
        :raises BackendUnavailable: if the counters cannot be reached.
        """
        ...

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        """Return the result of ``spend`` for each item. All keys are different.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        return [self.spend(*spend) for spend in spends]

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        """Reduce a counter's theoretical arrival time by ``cost_s`` seconds.

        :param key: name of the counter.
        :param expected_tat: the time is only reduced if it is still this one; ``None``: it may be any.
        :returns: whether the time was reduced; false if there is no such counter.
        :raises BackendUnavailable: if the counters cannot be reached.
        """
        ...

    def read(self, key: str, default: float) -> float:
        """Return the theoretical arrival time of the counter with this key, or ``default`` if there is none.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        ...

    def prune(self, now: float) -> None:
        """Delete the counters whose whole budget is available again at ``now``, in seconds since 1970."""
        ...

    def close(self) -> None: ...


class CountersUnavailable(BackendUnavailable):
    """The rate limit counters cannot be reached, so that calls cannot be counted now."""


class CountersFull(CountersUnavailable):
    """``MemoryCounters`` has no space for a new counter. Callers that have a counter are still counted."""


class MemoryCounters(Counters):
    """Counters in the memory of one process, not shared with others: at most 100,000 counters, about 15 MB.

    A counter is removed once its whole budget is available again, and no earlier. If there are 100,000 counters that
    cannot be removed, a call that needs a new one raises ``CountersFull``. That is treated like an unavailable backend:
    the ``fail`` option of each limit decides whether the call is allowed.
    """

    def __init__(self) -> None:
        self._tats: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_prune_at = 0.0  # full until then: scanning all keys is too slow for every call

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        with self._lock:
            tat = self._tats.get(key)
            if tat is not None and tat > max_tat + MAX_CLOCK_OFFSET_S:
                tat = min_tat
            new_tat = min_tat + cost_s if tat is None else max(tat, min_tat) + cost_s
            if new_tat > max_tat:
                return False, min_tat if tat is None else tat
            if tat is None and len(self._tats) >= _MAX_KEYS:
                self._ensure_capacity(min_tat)
            self._tats[key] = new_tat
            return True, new_tat

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        with self._lock:
            if key not in self._tats or expected_tat not in {None, self._tats[key]}:
                return False
            self._tats[key] -= cost_s
            return True

    def read(self, key: str, default: float) -> float:
        return self._tats.get(key, default)

    def prune(self, now: float) -> None:
        with self._lock:
            self._remove_full_budgets(now)

    def close(self) -> None:
        self._tats.clear()

    def _ensure_capacity(self, min_tat: float) -> None:
        """Make space for a new counter by removing the counters whose whole budget is available again.

        If that frees less than a tenth of the space, it is not tried again for a second.

        :param min_tat: the time of the call (GCRA's theoretical arrival time of a full budget); up to
            ``MAX_LEASE_AHEAD_S`` in the future.

        :raises CountersFull: if there is still no space.
        """
        # It is further ahead if the clock was set back.
        if not 0.0 < self._next_prune_at - min_tat <= _PRUNE_INTERVAL_S + MAX_LEASE_AHEAD_S:
            self._remove_full_budgets(min_tat - 2 * MAX_LEASE_AHEAD_S)
            if len(self._tats) < _MAX_KEYS * 0.9:
                return
            self._next_prune_at = min_tat + _PRUNE_INTERVAL_S
        if len(self._tats) >= _MAX_KEYS:
            raise CountersFull(
                f"the rate limit counters in memory are full ({_MAX_KEYS} keys): set redis_url to count more callers"
            )

    def _remove_full_budgets(self, now: float) -> None:
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now}
