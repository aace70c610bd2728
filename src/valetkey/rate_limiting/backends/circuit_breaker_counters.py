"""Circuit breaker for counter backends: after a failure, one call per second tries the backend, others fail at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.storage.engine.circuit_breaker import CircuitBreaker

from .counters import Counters, CountersFull, CountersUnavailable, Spend, SpendResult

R = TypeVar("R")


class CircuitBreakerCounters(Counters):
    """Counter backend with a circuit breaker: it calls another backend, unless that one failed within the last second.

    During an outage only one call per second waits for the driver's timeout; the others raise ``BackendUnavailable`` at
    once. ``CountersFull`` does not count as a failure.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._breaker = CircuitBreaker("the rate limit counter backend", clock, error=CountersUnavailable)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        return self._call(lambda: self._counters.spend(key, min_tat, cost_s, max_tat))

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        return self._call(lambda: self._counters.spend_all(spends))

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
        except BackendUnavailable as error:
            if not isinstance(error, CountersFull):
                self._breaker.trip()
            raise
        self._breaker.reset()
        return result
