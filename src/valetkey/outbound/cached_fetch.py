"""What was fetched from somebody else, kept as HTTP allows: one fetch however many ask, and seldom."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from valetkey.protocol.errors import TemporarilyUnavailable

from .bounds import FetchProblem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ages:
    """How old what is kept may be, and how often it is asked for, in seconds.

    :param least: between two fetches, whatever is asked for and whatever came.
    :param retry: until the next try where nothing is known.
    :param stale: that an old one serves while a new one cannot be had (RFC 9111 §4.2.4).
    """

    least: float
    retry: float
    stale: float


class Kept(Generic[T]):
    """One document, or why there is none.

    :param fetch: gets it, with the seconds for which it may be used again; raises ``FetchProblem``.
    :param clock: the time by which it expires.
    :param waiting: what is entered while somebody may have to wait; raises ``TemporarilyUnavailable`` where it is full.
    """

    def __init__(
        self,
        fetch: Callable[[], tuple[T, int]],
        clock: Callable[[], float],
        ages: Ages,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ages = ages
        self._waiting = waiting
        self._known: T | None = None
        self._asked_at = self._fetched_at = self._fresh_until = float("-inf")
        self._fetching = threading.Lock()
        self.problem: FetchProblem | None = None  # of the last fetch

    def fresh(self) -> T | None:
        """What is known, if it need not be fetched again; never waits."""
        return self._known if self._clock() < self._fresh_until else None

    def get(self) -> T:
        """What is known, fetched first where it is not fresh. While another thread fetches, an old one serves.

        :raises FetchProblem: where it cannot be had, and none from before is recent enough.
        :raises TemporarilyUnavailable: where too many wait already, and none from before is recent enough.
        """
        fresh = self.fresh()
        if fresh is not None:
            return fresh
        try:
            with self._waiting():
                self._refresh_if_needed()
        except TemporarilyUnavailable:
            if self._usable() is None:
                raise
        known = self._usable()
        if known is None:
            raise self._told()
        return known

    def get_newer(self, than: T) -> T | None:
        """What is published now, where somebody needs what ``than`` does not have; None where it is no other.

        It is asked for at most once in ``ages.least`` seconds.

        :raises TemporarilyUnavailable: where too many wait already.
        """
        with self._waiting(), self._fetching:
            if self._known is than:
                self._refresh()
            return None if self._known is than else self._known

    def _refresh_if_needed(self) -> None:
        if self._fetching.acquire(blocking=self._usable() is None):
            try:
                if self._clock() >= self._fresh_until:
                    self._refresh()
            finally:
                self._fetching.release()

    def _usable(self) -> T | None:
        return self._known if self._clock() <= self._fetched_at + self._ages.stale else None

    def _told(self) -> FetchProblem:
        problem = self.problem or FetchProblem("nothing was fetched yet")
        return type(problem)(*problem.args)

    def _refresh(self) -> None:
        now = self._clock()
        if now < self._asked_at + (self._ages.retry if self._known is None else self._ages.least):
            return
        self._asked_at = now
        try:
            self._known, age = self._fetch()
        except FetchProblem as problem:
            self.problem = problem.with_traceback(None)
            if self._usable() is None:
                self._known = None
            return
        self.problem = None
        self._fetched_at, self._fresh_until = now, now + max(age, self._ages.least)


class KeptByUrl(Generic[T]):
    """Documents at many URLs; those that were wanted least lately are forgotten.

    :param keep: what keeps the document at a URL that is not known yet.
    :param most: how many are kept.
    """

    def __init__(self, keep: Callable[[str], Kept[T]], most: int) -> None:
        self._keep = keep
        self._most = most
        self._known: OrderedDict[str, Kept[T]] = OrderedDict()
        self._guarding = threading.Lock()

    def at(self, url: str) -> Kept[T]:
        with self._guarding:
            kept = self._known.get(url)
            if kept is None:
                kept = self._known[url] = self._keep(url)
            self._known.move_to_end(url)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
            return kept
