"""What was fetched from somebody else, kept as HTTP allows: one fetch however many ask, and seldom."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from valetkey.protocol.errors import TemporarilyUnavailable

from .errors import FetchError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what is kept may be, and how often it is asked for, in seconds.

    :param least: between two fetches, whatever is asked for and whatever came.
    :param retry: until the next try where nothing is known.
    :param stale: that an old one serves while a new one cannot be had (RFC 9111 §4.2.4).
    """

    min_interval_s: float
    retry_interval_s: float
    max_stale_s: float


class CachedFetch(Generic[T]):
    """One document, or why there is none.

    :param fetch: gets it, with the seconds for which it may be used again; raises ``FetchProblem``.
    :param clock: the time by which it expires.
    :param waiting: what is entered while somebody may have to wait; raises ``TemporarilyUnavailable`` where it is full.
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
        self.error: FetchError | None = None  # of the last fetch

    def get_fresh(self) -> T | None:
        """What is known, if it need not be fetched again; never waits."""
        return self._cached if self._clock() < self._fresh_until else None

    def get(self) -> T:
        """What is known, fetched first where it is not fresh. While another thread fetches, an old one serves.

        :raises FetchProblem: where it cannot be had, and none from before is recent enough.
        :raises TemporarilyUnavailable: where too many wait already, and none from before is recent enough.
        """
        fresh = self.get_fresh()
        if fresh is not None:
            return fresh
        try:
            with self._fetch_slot():
                self._refresh_if_needed()
        except TemporarilyUnavailable:
            if self._get_usable() is None:
                raise
        known = self._get_usable()
        if known is None:
            raise self._copy_error()
        return known

    def get_newer(self, previous: T) -> T | None:
        """What is published now, where somebody needs what ``than`` does not have; None where it is no other.

        It is asked for at most once in ``ages.least`` seconds.

        :raises TemporarilyUnavailable: where too many wait already.
        """
        with self._fetch_slot(), self._fetch_lock:
            if self._cached is previous:
                self._refresh()
            return None if self._cached is previous else self._cached

    def _refresh_if_needed(self) -> None:
        if self._fetch_lock.acquire(blocking=self._get_usable() is None):
            try:
                if self._clock() >= self._fresh_until:
                    self._refresh()
            finally:
                self._fetch_lock.release()

    def _get_usable(self) -> T | None:
        return self._cached if self._clock() <= self._fetched_at + self._freshness.max_stale_s else None

    def _copy_error(self) -> FetchError:
        problem = self.error or FetchError("nothing was fetched yet")
        return type(problem)(*problem.args)

    def _refresh(self) -> None:
        now = self._clock()
        if now < self._requested_at + (
            self._freshness.retry_interval_s if self._cached is None else self._freshness.min_interval_s
        ):
            return
        self._requested_at = now
        try:
            self._cached, age = self._fetch()
        except FetchError as problem:
            self.error = problem.with_traceback(None)
            if self._get_usable() is None:
                self._cached = None
            return
        self.error = None
        self._fetched_at, self._fresh_until = now, now + max(age, self._freshness.min_interval_s)


class CachePool(Generic[T]):
    """Documents at many URLs; those that were wanted least lately are forgotten.

    :param keep: what keeps the document at a URL that is not known yet.
    :param most: how many are kept.
    """

    def __init__(self, create: Callable[[str], CachedFetch[T]], max_entries: int) -> None:
        self._create = create
        self._max_entries = max_entries
        self._entries: OrderedDict[str, CachedFetch[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, url: str) -> CachedFetch[T]:
        with self._lock:
            kept = self._entries.get(url)
            if kept is None:
                kept = self._entries[url] = self._create(url)
            self._entries.move_to_end(url)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
            return kept
