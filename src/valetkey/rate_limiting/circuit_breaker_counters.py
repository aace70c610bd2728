"""Circuit breaker for counter backends: after a failure, one call per second tries the backend, others fail at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from valetkey.storage.engine.circuit_breaker import CircuitBreaker
from valetkey.storage.engine.transaction import StoreUnavailable

from .counters import Counters, CountersFull

R = TypeVar("R")


class CircuitBreakerCounters:
    """Counter backend with a circuit breaker: it calls another backend, unless that one failed within the last second.

    During an outage only one call per second waits for the driver's timeout; the others raise ``StoreUnavailable`` at
    once. ``CountersFull`` does not count as a failure.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._breaker = CircuitBreaker("the rate limit counter backend", clock)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        if self._breaker.retry_at is None:  # fast path: saves 0.2 us for a function call
            try:
                return self._counters.spend(key, min_tat, cost_s, max_tat)
            except StoreUnavailable as error:
                self._trip(error)
                raise
        return self._call(lambda: self._counters.spend(key, min_tat, cost_s, max_tat))

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return self._call(lambda: self._counters.refund(key, cost_s, expected_tat))

    def read(self, key: str, default: float) -> float:
        return self._call(lambda: self._counters.read(key, default))

    def prune(self, now: float) -> None:
        self._call(lambda: self._counters.prune(now))

    def close(self) -> None:
        self._counters.close()

    def _call(self, operation: Callable[[], R]) -> R:
        self._breaker.check()
        try:
            result = operation()
        except StoreUnavailable as error:
            self._trip(error)
            raise
        self._breaker.reset()
        return result

    def _trip(self, error: StoreUnavailable) -> None:
        if not isinstance(error, CountersFull):
            self._breaker.trip()
