"""Counters that do not answer are left alone for a second: one caller tries again, the others are told at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from valetkey.storage.engine.circuit_breaker import Rest
from valetkey.storage.engine.transaction import StoreUnavailable

from .counters import Counters, CountersFull

R = TypeVar("R")


class Circuit:
    """Counters behind a switch that a failure opens. A driver's timeout is paid once a second, not by every call."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._rest = Rest("the counters of limits", clock)

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        if self._rest.again_at is None:  # the usual case without one more call on the way: 0.2 us
            try:
                return self._counters.spend(key, base, cost, latest)
            except StoreUnavailable as problem:
                self._open(problem)
                raise
        return self._try(lambda: self._counters.spend(key, base, cost, latest))

    def refund(self, key: str, cost: float, tat: float | None) -> bool:
        return self._try(lambda: self._counters.refund(key, cost, tat))

    def read(self, key: str, default: float) -> float:
        return self._try(lambda: self._counters.read(key, default))

    def prune(self, now: float) -> None:
        self._try(lambda: self._counters.prune(now))

    def close(self) -> None:
        self._counters.close()

    def _try(self, ask: Callable[[], R]) -> R:
        self._rest.check_over()
        try:
            answer = ask()
        except StoreUnavailable as problem:
            self._open(problem)
            raise
        self._rest.end()
        return answer

    def _open(self, problem: StoreUnavailable) -> None:
        if not isinstance(problem, CountersFull):
            self._rest.begin()
