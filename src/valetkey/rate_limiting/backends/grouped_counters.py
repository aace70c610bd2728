"""Counting of calls that arrive at the same time in one request to the database or Redis."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from valetkey.storage.engine.batch_queue import BatchQueue, QueuedItem

from .counters import Counters, CountersUnavailable

_MAX_CALLS_PER_GROUP = 64


class Spend(NamedTuple):
    """The arguments of one call of ``Counters.spend``."""

    key: str
    min_tat: float
    cost_s: float
    max_tat: float


SpendResult = tuple[bool, float]  # what ``Counters.spend`` returns


class GroupCounters(Counters, Protocol):
    """A counter backend that can count several calls in one request to the database or Redis."""

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        """Return the result of ``spend`` for each item. All keys are different.

        :raises BackendUnavailable: if the counters cannot be reached.
        """
        ...


class _QueuedSpend(QueuedItem):
    """A call that waits in the queue to be counted."""

    __slots__ = ("result", "spend")

    def __init__(self, spend: Spend) -> None:
        super().__init__()
        self.spend = spend
        self.result: SpendResult = (False, 0.0)


class GroupedCounters:
    """Counter backend that counts the calls of all waiting threads together in another backend.

    A call that comes alone is counted at once. It is thread-safe and fork-safe.

    :param counters: the backend.
    """

    def __init__(self, counters: GroupCounters) -> None:
        self._counters = counters
        self._reset()
        weak = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_if_exists(weak))

    def _reset(self) -> None:
        self._queue = BatchQueue(self._spend_group, _MAX_CALLS_PER_GROUP, CountersUnavailable)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        queued = _QueuedSpend(Spend(key, min_tat, cost_s, max_tat))
        self._queue.run(queued)
        return queued.result

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return self._counters.refund(key, cost_s, expected_tat)

    def read(self, key: str, default: float) -> float:
        return self._counters.read(key, default)

    def prune(self, now: float) -> None:
        self._counters.prune(now)

    def close(self) -> None:
        self._counters.close()

    def _spend_group(self, group: Sequence[_QueuedSpend]) -> None:
        by_key: dict[str, _QueuedSpend] = {}
        for queued in group:
            by_key.setdefault(queued.spend.key, queued)
        try:
            results = self._spend_all([queued.spend for queued in by_key.values()])
        except Exception as failure:
            for queued in by_key.values():
                queued.settle(failure)
        else:
            for queued, result in zip(by_key.values(), results, strict=True):
                queued.result = result
                queued.settle()
        self._queue.requeue([queued for queued in group if by_key[queued.spend.key] is not queued])

    def _spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        return self._counters.spend_all(spends) if len(spends) > 1 else [self._counters.spend(*spends[0])]


def _reset_if_exists(counters_ref: weakref.ref[GroupedCounters]) -> None:
    counters = counters_ref()
    if counters is not None:
        counters._reset()
