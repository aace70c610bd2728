"""``Counters``: the interface of counter backends, and the backend in memory.

A counter is the theoretical arrival time (TAT) of a key, the one number that GCRA needs.
"""

from __future__ import annotations

import threading
from typing import Protocol

from valetkey.storage.engine.transaction import StoreUnavailable

from .limit import LEASE_DURATION_S

_MAX_KEYS = 100_000


class Counters(Protocol):
    """A counter backend. ``spend`` is atomic across all processes that share the backend."""

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        """Set the key's TAT to ``max(tat, min_tat) + cost_s``, unless that is later than ``max_tat``.

        A TAT is in seconds since 1970, the cost in seconds.

        :returns: whether the TAT was set, and the key's TAT afterwards.
        :raises StoreUnavailable: if the counters cannot be reached.
        """
        ...

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        """Reduce the key's TAT by ``cost_s``; if ``expected_tat`` is given, only if it still is the key's TAT.

        :returns: whether the TAT was reduced.
        :raises StoreUnavailable: if the counters cannot be reached.
        """
        ...

    def read(self, key: str, default: float) -> float:
        """Return the key's TAT, or ``default`` if the key has no counter.

        :raises StoreUnavailable: if the counters cannot be reached.
        """
        ...

    def prune(self, now: float) -> None:
        """Delete the counters of keys whose whole budget is available again."""
        ...

    def close(self) -> None: ...


class CountersFull(StoreUnavailable):
    """The memory has no space for a new key; keys that have a counter are still counted."""


class MemoryCounters:
    """Counters in the memory of one process, not shared with others: at most 100,000 keys, about 15 MB.

    A key is removed once its whole budget is available again, and no earlier. If all keys have spent some of their
    budget, a call with a new key raises ``CountersFull``. That is treated like an unavailable backend: the ``fail``
    option of each limit decides.
    """

    def __init__(self) -> None:
        self._tats: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_prune_at = 0.0  # full until then: scanning all keys is too slow for every call

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        with self._lock:
            tat = self._tats.get(key)
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
        """Make space for a new key by removing the keys whose whole budget is available again.

        If that frees less than a tenth of the space, it is not tried again for a second. ``min_tat`` may be the end
        of a lease that begins now, so only budgets that were full before are removed.

        :raises CountersFull: if there is still no space.
        """
        if min_tat >= self._next_prune_at:
            self._remove_full_budgets(min_tat - 2 * LEASE_DURATION_S)
            if len(self._tats) < _MAX_KEYS * 0.9:
                return
            self._next_prune_at = min_tat + 1.0
        if len(self._tats) >= _MAX_KEYS:
            raise CountersFull(
                f"the rate limit counters in memory are full ({_MAX_KEYS} keys): set redis_url to count more callers"
            )

    def _remove_full_budgets(self, now: float) -> None:
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now}
