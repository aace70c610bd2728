"""The queue that one thread at a time empties for all: what becomes of it if a thread is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from valetkey.storage.engine.batch_queue import BatchQueue, QueuedItem
from valetkey.storage.engine.transaction import StoreUnavailable


class Stopped(BaseException):
    """What stops a thread, as a timeout of a server does."""


class StoppedItem(QueuedItem):
    """An item whose thread is stopped while it waits.

    :param waits: whether that is after the thread was woken up.
    """

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self._waits = waits

    def wait(self) -> bool:
        if self._waits:
            super().wait()
        raise Stopped


class Handler:
    """Settles the items of each batch; the first batch waits until the test continues it."""

    def __init__(self) -> None:
        self.is_called, self.may_continue = threading.Event(), threading.Event()
        self.handle: Callable[[Sequence[QueuedItem]], None] = self._settle_all

    def __call__(self, batch: Sequence[QueuedItem]) -> None:
        if not self.is_called.is_set():
            self.is_called.set()
            assert self.may_continue.wait(10)
            self._settle_all(batch)
        else:
            self.handle(batch)

    def _settle_all(self, batch: Sequence[QueuedItem]) -> None:
        for item in batch:
            item.settle()


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def queue(handler: Handler) -> BatchQueue[QueuedItem]:
    return BatchQueue(handler, 1, StoreUnavailable)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.mark.parametrize("waits", [False, True], ids=["while it waits", "when it has become the leader"])
def test_a_thread_that_is_stopped_does_not_stop_the_queue(
    handler: Handler, queue: BatchQueue[QueuedItem], pool: ThreadPoolExecutor, waits: bool
) -> None:
    first = pool.submit(queue.run, QueuedItem())
    assert handler.is_called.wait(10)
    stopped = pool.submit(queue.run, StoppedItem(waits=waits))
    wait_for_items(queue, 1 if waits else 0)
    next_one = pool.submit(queue.run, QueuedItem())
    wait_for_items(queue, 2 if waits else 1)
    handler.may_continue.set()

    assert isinstance(stopped.exception(10), Stopped)
    for running in (first, next_one, pool.submit(queue.run, QueuedItem())):
        assert running.result(10) is None


def test_a_leader_that_is_stopped_fails_its_batch_and_hands_the_queue_over(
    handler: Handler, queue: BatchQueue[QueuedItem], pool: ThreadPoolExecutor
) -> None:
    def stop(_: Sequence[QueuedItem]) -> None:
        handler.handle = handler._settle_all
        raise Stopped

    handler.handle = stop
    running = [pool.submit(queue.run, QueuedItem())]
    assert handler.is_called.wait(10)
    for number in range(1, 4):
        running.append(pool.submit(queue.run, QueuedItem()))
        wait_for_items(queue, number)
    handler.may_continue.set()

    failures = [each.exception(10) for each in running]
    assert [type(failure) for failure in failures] == [type(None), Stopped, type(None), type(None)]


def wait_for_items(queue: BatchQueue[QueuedItem], count: int) -> None:
    """Wait until so many items are queued, and for one that is removed at once a moment longer."""
    while len(queue._items) != count:
        threading.Event().wait(0.001)
    threading.Event().wait(0.05)
