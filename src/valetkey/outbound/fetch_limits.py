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
    """The time at which a request to another server must have ended, with name lookup, waiting and redirects included.

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
    """Limit of the incoming requests that may wait at once for a document of another server; further ones fail.

    A WSGI server has few threads, and a thread that waits for a slow server handles no other request. Requests that
    wait for one host hold at most some of the places, so that a slow host does not refuse documents of others.

    :param limit: maximum number of requests that may wait.
    :param limit_per_host: maximum number of them that may wait for the same host.
    :param grace_s: how many seconds the first request must have waited before further ones fail. Until then they wait
        for a place: when a server starts, many requests need the same document, and most hosts respond in time.
    """

    def __init__(self, limit: int, limit_per_host: int, *, grace_s: float = 0.0) -> None:
        self._limit = limit
        self._limit_per_host = limit_per_host
        self._grace_s = grace_s
        self._active: list[tuple[str, float]] = []  # host, and when the request began to wait
        self._released = threading.Condition()

    @contextmanager
    def acquire(self, url: str) -> Iterator[None]:
        """Count an incoming request as waiting for the host of a URL until the context manager exits.

        :raises TooManyFetches: if a limit is reached.
        """
        host = urlsplit(url).hostname or ""
        with self._released:
            if self._is_full(host):
                remaining_s = self._began_at(host) + self._grace_s - time.monotonic()
                if not self._released.wait_for(lambda: not self._is_full(host), max(0.0, remaining_s)):
                    raise TooManyFetches("too many requests to other sites are in progress")
            entry = host, time.monotonic()
            self._active.append(entry)
        try:
            yield
        finally:
            with self._released:
                self._active.remove(entry)
                self._released.notify_all()

    def _is_full(self, host: str) -> bool:
        return len(self._active) >= self._limit or len(self._times_of(host)) >= self._limit_per_host

    def _began_at(self, host: str) -> float:
        """Return when the oldest of the requests that use up the limit began to wait."""
        times = self._times_of(host)
        return min(times if len(times) >= self._limit_per_host else (began_at for _, began_at in self._active))

    def _times_of(self, host: str) -> list[float]:
        return [began_at for active_host, began_at in self._active if active_host == host]


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


class IssuerSlots:
    """The ``WaitLimit`` of each kind of request to trusted issuers, for an app with a ``ResourceServer``.

    Anyone can send tokens that name an issuer. Without the limits, those of one that does not respond would hold all
    threads of the app. Together they are fewer than the 32 threads that ``valetkey serve`` has for views.
    """

    def __init__(self) -> None:
        self.documents = WaitLimit(12, limit_per_host=8, grace_s=1.0).acquire  # metadata and keys
        self.introspection = WaitLimit(16, limit_per_host=12, grace_s=1.0).acquire
