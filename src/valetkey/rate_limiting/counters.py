"""Where to count. A store of counters does one thing: it moves the theoretical arrival time of a key, or refuses."""

from __future__ import annotations

import threading
from typing import Protocol

from valetkey.storage.engine.transaction import StoreUnavailable

from .limit import LEASE_DURATION_S

_MAX_KEYS = 100_000


class Counters(Protocol):
    """The contract, kept by all: ``spend`` is atomic among all processes that share the counters."""

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        """Set ``tat = max(tat, base) + cost`` unless that is later than ``latest``.

        Answers whether it was set, and the key's tat (all in seconds since 1970; cost in seconds).

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        ...

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        """Give back what was spent; where ``tat`` is given, only if it is still the key's. Answers whether it was."""
        ...

    def read(self, key: str, default: float) -> float:
        """The key's tat, or the default where nobody knows the key."""
        ...

    def prune(self, now: float) -> None:
        """Forget the keys whose budget is full."""
        ...

    def close(self) -> None: ...


class CountersFull(StoreUnavailable):
    """A new key cannot be counted; those that are known go on."""


class MemoryCounters:
    """For one process: nothing is shared. A hundred thousand keys at the most, about 15 MB.

    A key is forgotten once its whole budget has come back and no earlier. While there are more keys with something
    spent, a new one cannot be counted, and is refused as by a store that is down: each limit says what that means.
    """

    def __init__(self) -> None:
        self._tats: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next_prune_at = 0.0  # there is no room before then: a search of all keys is not for each call

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        with self._lock:
            tat = self._tats.get(key)
            moved = min_tat + cost_s if tat is None else max(tat, min_tat) + cost_s
            if moved > max_tat:
                return False, min_tat if tat is None else tat
            if tat is None and len(self._tats) >= _MAX_KEYS:
                self._ensure_capacity(min_tat)
            self._tats[key] = moved
            return True, moved

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
        """``base`` may be the end of a lease that begins now: what counts as come back must have done so before."""
        if min_tat >= self._next_prune_at:
            self._remove_full_budgets(min_tat - 2 * LEASE_DURATION_S)
            if len(self._tats) < _MAX_KEYS * 0.9:
                return
            self._next_prune_at = min_tat + 1.0
        if len(self._tats) >= _MAX_KEYS:
            raise CountersFull(f"{_MAX_KEYS} callers are counted in memory already: set redis_url for more")

    def _remove_full_budgets(self, now: float) -> None:
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now}
