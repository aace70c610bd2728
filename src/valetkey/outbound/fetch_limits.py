"""Limits for HTTP requests to other servers: time, requests at once (in total and per host), and waiting threads."""

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
    """The time at which an HTTP request must have ended, with name lookup, waiting and redirects included.

    :param timeout_s: seconds that were allowed at the beginning, for error messages.
    :param ends_at: the deadline, as a value of ``time.monotonic()``.
    """

    timeout_s: float
    ends_at: float

    @classmethod
    def within(cls, timeout_s: float) -> Deadline:
        """Return the deadline that is ``timeout_s`` seconds from now."""
        return cls(timeout_s, time.monotonic() + timeout_s)

    def remaining_s(self) -> float:
        """Return the seconds until the deadline, more than 0.

        :raises TimeoutError: if the deadline has passed.
        """
        remaining_s = self.ends_at - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return remaining_s


class HostSemaphore:
    """Semaphore that limits the concurrent HTTP requests of this process, in total and per host; further ones wait.

    :param max_fetches: maximum number of concurrent requests in total.
    :param max_per_host: maximum number of concurrent requests to one host.
    """

    def __init__(self, max_fetches: int, max_per_host: int) -> None:
        self._max_fetches = max_fetches
        self._max_per_host = max_per_host
        self._active: Counter[str] = Counter()
        self._released = threading.Condition()

    @contextmanager
    def acquire(self, host: str, deadline: Deadline) -> Iterator[None]:
        """Wait until a request to this host may begin, and count it until the context manager exits.

        :raises FetchFailed: if the limits do not allow the request before the deadline.
        :raises TimeoutError: if the deadline has passed already.
        """
        with self._released:
            if not self._released.wait_for(lambda: self._is_available(host), deadline.remaining_s()):
                raise FetchFailed(f"too many requests are in progress to send one to {host}; try again later")
            self._active[host] += 1
        try:
            yield
        finally:
            with self._released:
                self._active[host] -= 1
                self._active += Counter()  # drops hosts with 0
                self._released.notify_all()

    def _is_available(self, host: str) -> bool:
        return self._active[host] < self._max_per_host and self._active.total() < self._max_fetches


class WaitLimit:
    """Limit of the incoming requests that may wait at once for a document of another server; further ones fail at once.

    A WSGI server has few threads, and a thread that waits for a slow server handles no other request.

    :param limit: maximum number of requests that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._semaphore = threading.BoundedSemaphore(limit)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Count an incoming request as waiting until the context manager exits.

        :raises TemporarilyUnavailable: if the limit is reached.
        """
        if not self._semaphore.acquire(blocking=False):
            raise TemporarilyUnavailable("too many requests wait for other sites; try again", retry_after=1)
        try:
            yield
        finally:
            self._semaphore.release()
