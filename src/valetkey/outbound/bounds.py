"""What a fetch may cost: seconds by the wall clock, how many are under way at once, how many requests wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from valetkey.protocol.errors import TemporarilyUnavailable


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment at which a fetch is over, whatever it waits for."""

    seconds: float
    at: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        return cls(seconds, time.monotonic() + seconds)

    def left(self) -> float:
        """The seconds left.

        :raises TimeoutError: where there are none.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Turns:
    """At most so many fetches at once in this process, and so many to one host; others wait for their turn."""

    def __init__(self, at_once: int, per_host: int) -> None:
        self._at_once = at_once
        self._per_host = per_host
        self._under_way: Counter[str] = Counter()
        self._ended = threading.Condition()

    @contextmanager
    def take(self, host: str, deadline: Deadline) -> Iterator[None]:
        """:raises FetchFailed: where no turn came before the deadline."""
        with self._ended:
            if not self._ended.wait_for(lambda: self._has_room(host), deadline.left()):
                raise FetchFailed(f"too many requests are under way to ask {host} too")
            self._under_way[host] += 1
        try:
            yield
        finally:
            with self._ended:
                self._under_way[host] -= 1
                self._under_way += Counter()  # forgets hosts with none
                self._ended.notify_all()

    def _has_room(self, host: str) -> bool:
        return self._under_way[host] < self._per_host and self._under_way.total() < self._at_once


class Room:
    """How many requests may wait at once for what a stranger publishes. Whoever finds it full is sent away at once.

    A server has few threads: one that waits for a slow site serves nobody else.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """:raises TemporarilyUnavailable: where it is full."""
        if not self._free.acquire(blocking=False):
            raise TemporarilyUnavailable("too many requests wait for other sites; try again", retry_after=1)
        try:
            yield
        finally:
            self._free.release()


class FetchProblem(Exception):
    """There is no answer to use; the sentence says why."""


class FetchRefused(FetchProblem):
    """The guard does not let this URL be fetched."""


class FetchFailed(FetchProblem):
    """The other side could not be reached, or its answer cannot be used."""
