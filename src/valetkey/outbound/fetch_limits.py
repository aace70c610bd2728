"""Limits for HTTP requests to other servers: time, requests at once (in total and per host), and waiting threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import FetchFailed, TooManyFetches


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

    A WSGI server has few threads, and a thread that waits for a slow server handles no other request. Requests that
    wait for one host hold at most some of the places, so that a slow host does not refuse documents of others.

    :param limit: maximum number of requests that may wait.
    :param limit_per_host: maximum number of them that may wait for the same host.
    """

    def __init__(self, limit: int, limit_per_host: int) -> None:
        self._limit = limit
        self._limit_per_host = limit_per_host
        self._active: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def acquire(self, url: str) -> Iterator[None]:
        """Count an incoming request as waiting for the host of a URL until the context manager exits.

        :raises TooManyFetches: if a limit is reached.
        """
        host = urlsplit(url).hostname or ""
        with self._lock:
            if self._active.total() >= self._limit or self._active[host] >= self._limit_per_host:
                raise TooManyFetches("too many requests to other sites are in progress")
            self._active[host] += 1
        try:
            yield
        finally:
            with self._lock:
                self._active[host] -= 1
                self._active += Counter()  # drops hosts with 0


class FetchSlots:
    """A ``WaitLimit`` for each kind of document, so that slow servers of one kind do not hold the slots of another.

    Together they are fewer than the 32 threads that ``valetkey serve`` keeps free of the app's views. Each attribute
    returns a context manager for a URL, as ``WaitLimit.acquire`` does.
    """

    def __init__(self) -> None:
        self.client_metadata = WaitLimit(8, limit_per_host=6).acquire
        self.client_keys = WaitLimit(6, limit_per_host=4).acquire
        self.logos = WaitLimit(3, limit_per_host=2).acquire
        self.sector_identifiers = WaitLimit(2, limit_per_host=1).acquire
        self.providers = WaitLimit(8, limit_per_host=6).acquire  # that users sign in with
