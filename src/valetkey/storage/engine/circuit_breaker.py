"""Whoever does not answer is left alone for a second: then one caller asks again, and the others do not wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .transaction import StoreTimeout

_RESET_TIMEOUT_S = 1.0


class CircuitBreaker:
    """A switch that silence opens: a timeout is paid once a second, not by every call. Safe for threads.

    It goes by the process's own steady clock: what it measures is how long ago this process was let down.
    """

    __slots__ = ("_clock", "_lock", "_name", "retry_at")

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self.retry_at: float | None = None  # when it may be asked again; None: it answers

    def check(self) -> None:
        """See that it may be asked now; whoever is the first to come after a rest asks for all.

        :raises StoreSilent: where it is left alone.
        """
        if self.retry_at is None:
            return
        with self._lock:
            if self.retry_at is None:
                return
            if self._clock() < self.retry_at:
                raise StoreTimeout(f"{self._name} did not answer a moment ago")
            self.trip()

    def trip(self) -> None:
        """It did not answer."""
        self.retry_at = self._clock() + _RESET_TIMEOUT_S

    def reset(self) -> None:
        """It answered."""
        self.retry_at = None
