"""Counting of calls that arrive at the same time in one request to the database or Redis."""

from __future__ import annotations

from collections.abc import Sequence

from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.batch_queue import BatchQueue, QueuedItem

from .counters import Counters, CountersUnavailable, Spend, SpendResult

_MAX_CALLS_PER_GROUP = 64


class _QueuedSpend(QueuedItem):
    """A call that waits in the queue to be counted."""

    __slots__ = ("result", "spend")

    def __init__(self, spend: Spend) -> None:
        super().__init__()
        self.spend = spend
        self.result: SpendResult = (False, 0.0)


class GroupedCounters(Counters):
    """Counter backend that counts the calls of all waiting threads together in another backend.

    A call that comes alone is counted at once. It is thread-safe and fork-safe.

    :param counters: the backend, which counts several calls in one request.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self._queue = BatchQueue(self._spend_group, _MAX_CALLS_PER_GROUP, CountersUnavailable)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        queued = _QueuedSpend(Spend(key, min_tat, cost_s, max_tat))
        self._queue.run(queued)
        return queued.result

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        return [
            result
            for begin in range(0, len(spends), _MAX_CALLS_PER_GROUP)
            for result in self._counters.spend_all(spends[begin : begin + _MAX_CALLS_PER_GROUP])
        ]

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
        except CountersUnavailable as failure:
            # Calls that were queued meanwhile fail too: they would wait for the same timeout once more.
            for queued in (*group, *self._queue.take_all()):
                queued.settle(failure)
            return
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
