"""What a fetch may cost: seconds by the wall clock, how many are under way at once, how many requests wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from valetkey.protocol.errors import TemporarilyUnavailable

from .errors import FetchFailed


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment at which a fetch is over, whatever it waits for."""

    timeout_s: float
    ends_at: float

    @classmethod
    def within(cls, timeout_s: float) -> Deadline:
        return cls(timeout_s, time.monotonic() + timeout_s)

    def remaining_s(self) -> float:
        """The seconds left.

        :raises TimeoutError: where there are none.
        """
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class HostSemaphore:
    """At most so many fetches at once in this process, and so many to one host; others wait for their turn."""

    def __init__(self, max_fetches: int, max_per_host: int) -> None:
        self._max_fetches = max_fetches
        self._max_per_host = max_per_host
        self._active: Counter[str] = Counter()
        self._released = threading.Condition()

    @contextmanager
    def acquire(self, host: str, deadline: Deadline) -> Iterator[None]:
        """:raises FetchFailed: where no turn came before the deadline."""
        with self._released:
            if not self._released.wait_for(lambda: self._is_available(host), deadline.remaining_s()):
                raise FetchFailed(f"too many requests are under way to ask {host} too")
            self._active[host] += 1
        try:
            yield
        finally:
            with self._released:
                self._active[host] -= 1
                self._active += Counter()  # forgets hosts with none
                self._released.notify_all()

    def _is_available(self, host: str) -> bool:
        return self._active[host] < self._max_per_host and self._active.total() < self._max_fetches


class WaitLimit:
    """How many requests may wait at once for what a stranger publishes. Whoever finds it full is sent away at once.

    A server has few threads: one that waits for a slow site serves nobody else.
    """

    def __init__(self, limit: int) -> None:
        self._semaphore = threading.BoundedSemaphore(limit)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """:raises TemporarilyUnavailable: where it is full."""
        if not self._semaphore.acquire(blocking=False):
            raise TemporarilyUnavailable("too many requests wait for other sites; try again", retry_after=1)
        try:
            yield
        finally:
            self._semaphore.release()
