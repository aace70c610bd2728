"""Counters that do not answer are left alone for a second: one caller tries again, the others are told at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from valetkey.storage.write import StoreUnavailable

from .counters import Counters, CountersFull

R = TypeVar("R")
_SECONDS = 1.0


class Circuit:
    """Counters behind a switch that a failure opens. A driver's timeout is paid once a second, not by every call.

    It goes by the process's own steady clock: what it measures is how long ago this process was let down.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._lock = threading.Lock()
        self._again_at: float | None = None  # when it may be tried again; None: it works

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        if self._again_at is None:  # the usual case without one more call on the way: 0.2 us
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
        if self._again_at is not None:
            with self._lock:
                if self._again_at is not None:
                    if self._clock() < self._again_at:
                        raise StoreUnavailable("the counters of limits did not answer a moment ago")
                    self._again_at = self._clock() + _SECONDS  # this one tries, the others do not wait for it
        try:
            answer = ask()
        except StoreUnavailable as problem:
            self._open(problem)
            raise
        self._again_at = None
        return answer

    def _open(self, problem: StoreUnavailable) -> None:
        if not isinstance(problem, CountersFull):
            self._again_at = self._clock() + _SECONDS
