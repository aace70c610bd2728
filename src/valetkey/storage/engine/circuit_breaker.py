"""Whoever does not answer is left alone for a second: then one caller asks again, and the others do not wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .transaction import StoreSilent

_SECONDS = 1.0


class Rest:
    """A switch that silence opens: a timeout is paid once a second, not by every call. Safe for threads.

    It goes by the process's own steady clock: what it measures is how long ago this process was let down.
    """

    __slots__ = ("_clock", "_lock", "_name", "again_at")

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self.again_at: float | None = None  # when it may be asked again; None: it answers

    def check_over(self) -> None:
        """See that it may be asked now; whoever is the first to come after a rest asks for all.

        :raises StoreSilent: where it is left alone.
        """
        if self.again_at is None:
            return
        with self._lock:
            if self.again_at is None:
                return
            if self._clock() < self.again_at:
                raise StoreSilent(f"{self._name} did not answer a moment ago")
            self.begin()

    def begin(self) -> None:
        """It did not answer."""
        self.again_at = self._clock() + _SECONDS

    def end(self) -> None:
        """It answered."""
        self.again_at = None
