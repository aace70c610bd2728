"""Cache of documents fetched from other servers, as long as HTTP allows; concurrent requests share one fetch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import FetchError, TooManyFetches

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Freshness:
    """How often a document is fetched from another server, and how long it may be used, in seconds.

    :param min_interval_s: minimum time between two fetches while a document is cached, even if its ``max-age`` is
        shorter.
    :param retry_interval_s: time until the next attempt after a failed fetch, if no document is cached.
    :param max_stale_s: time since its fetch for which a document may be used if it cannot be fetched again
        (RFC 9111 §4.2.4).
    """

    min_interval_s: float
    retry_interval_s: float
    max_stale_s: float


class CachedFetch(Generic[T]):
    """Cache of one document from another server. Thread-safe: threads that need it at the same time share one fetch.

    :param fetch: fetches the document; returns it with the seconds for which it is fresh, or raises ``FetchError``.
    :param clock: returns the current time in seconds. If it was set back, so that the last fetch seems to be in the
        future, the document is fetched again.
    :param freshness: how often the document is fetched, and how long it may be used.
    :param fetch_slot: returns a context manager that is entered while a request may have to wait for a fetch; it raises
        ``TooManyFetches`` if too many requests wait.
    """

    def __init__(
        self,
        fetch: Callable[[], tuple[T, int]],
        clock: Callable[[], float],
        freshness: Freshness,
        fetch_slot: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._freshness = freshness
        self._fetch_slot = fetch_slot
        self._cached: T | None = None
        self._requested_at = self._fetched_at = self._fresh_until = float("-inf")
        self._fetch_lock = threading.Lock()
        self.error: FetchError | None = None  # why the last fetch failed; None if it succeeded

    def get_fresh(self) -> T | None:
        """Return the cached document, or None if there is none or it is no longer fresh. Never waits."""
        return self._cached if self._is_fresh() else None

    def get(self) -> T:
        """Return the document; fetch it first if the cached one is not fresh.

        If another thread is fetching it, or it cannot be fetched, return the cached one if that was fetched at most
        ``max_stale_s`` seconds ago.

        :raises FetchError: if the document cannot be fetched, and no cached one is recent enough.
        :raises TooManyFetches: if too many requests wait already, and no cached document is recent enough.
        """
        fresh = self.get_fresh()
        if fresh is not None:
            return fresh
        try:
            with self._fetch_slot():
                self._refresh_if_needed()
        except TooManyFetches:
            if self._get_usable() is None:
                raise
        document = self._get_usable()
        if document is None:
            raise self._copy_error()
        return document

    def get_newer(self, previous: T) -> T | None:
        """Return a newer version of the document than ``previous``, or None if there is none.

        Call this if ``previous`` lacks what is needed, such as a new key. The document is fetched at most once in
        ``min_interval_s`` seconds.

        :raises TooManyFetches: if too many requests wait already.
        """
        with self._fetch_slot(), self._fetch_lock:
            if self._cached is previous:
                self._refresh()
            return None if self._cached is previous else self._cached

    def _refresh_if_needed(self) -> None:
        """Fetch the document if it is not fresh. Wait for another thread's fetch only if no cached one is usable."""
        if self._fetch_lock.acquire(blocking=self._get_usable() is None):
            try:
                if not self._is_fresh():
                    self._refresh()
            finally:
                self._fetch_lock.release()

    def _is_fresh(self) -> bool:
        return self._fetched_at <= self._clock() < self._fresh_until

    def _get_usable(self) -> T | None:
        """Return the cached document, fresh or stale; None if it was fetched more than ``max_stale_s`` ago."""
        return self._cached if self._clock() <= self._fetched_at + self._freshness.max_stale_s else None

    def _copy_error(self) -> FetchError:
        """Return a copy of the last fetch's error: a shared exception would collect the tracebacks of all threads."""
        error = self.error or FetchError("the document was not fetched yet; try again")
        return type(error)(*error.args)

    def _refresh(self) -> None:
        """Fetch the document, unless the last attempt was too recent.

        If the fetch fails, set ``error``, and keep the cached document while it may be used stale.
        """
        now, freshness = self._clock(), self._freshness
        interval_s = freshness.retry_interval_s if self._cached is None else freshness.min_interval_s
        if 0 <= now - self._requested_at < interval_s:
            return
        self._requested_at = now
        if now < self._fetched_at:  # the clock was set back
            self._fetched_at = self._fresh_until = now
        try:
            self._cached, max_age_s = self._fetch()
        except FetchError as error:
            self.error = error.with_traceback(None)
            if self._get_usable() is None:
                self._cached = None
            return
        self.error = None
        self._fetched_at, self._fresh_until = now, now + max(max_age_s, self._freshness.min_interval_s)


class CachePool(Generic[T]):
    """Cache of the documents at many URLs; if it is full, it drops the least recently used one. Thread-safe.

    :param create: called with a URL; returns a new cache for the document at that URL.
    :param max_entries: maximum number of URLs whose documents are cached.
    """

    def __init__(self, create: Callable[[str], CachedFetch[T]], max_entries: int) -> None:
        self._create = create
        self._max_entries = max_entries
        self._entries: OrderedDict[str, CachedFetch[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, url: str) -> CachedFetch[T]:
        """Return the cache for the document at a URL, and create it if there is none. Fetches nothing."""
        with self._lock:
            entry = self._entries.get(url)
            if entry is None:
                entry = self._entries[url] = self._create(url)
            self._entries.move_to_end(url)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
            return entry
