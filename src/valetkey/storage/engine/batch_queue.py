"""Queue that one thread at a time, the leader, empties in batches for all waiting threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from valetkey.protocol.unavailable import BackendUnavailable


class QueuedItem:
    """Base class of queued items. The thread of an item waits until the item is settled, or it becomes the leader.

    An item is settled when it was handled, or has failed.
    """

    __slots__ = ("_wake_lock", "failure", "is_leader", "is_settled")

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.is_settled = False
        self.is_leader = False
        self._wake_lock = threading.Lock()
        self._wake_lock.acquire()

    def wait(self) -> bool:
        """Block until ``make_leader`` or ``settle`` is called. Return whether this thread is the leader now."""
        self._wake_lock.acquire()
        return not self.is_settled

    def make_leader(self) -> None:
        """Wake the waiting thread up and make it the leader."""
        self.is_leader = True
        self._wake_lock.release()

    def settle(self, failure: BaseException | None = None) -> None:
        """Wake the waiting thread up: the item was handled, or it failed with an error."""
        self.failure, self.is_settled = failure, True
        self._wake_lock.release()


_POLL_INTERVAL_S = 0.001
Item = TypeVar("Item", bound=QueuedItem)


class BatchQueue(Generic[Item]):
    """Handles the items of many threads in batches, so that a batch costs one round trip or one commit.

    Nobody waits for a batch to fill: the first item is handled at once, and what arrives meanwhile is the next batch.

    :param handle: function that settles each item of a batch, or queues it again. It runs in the thread of an item.
    :param max_batch: most items of a batch.
    :param error: class of the exception for the items of a batch whose thread is stopped meanwhile.
    """

    def __init__(
        self, handle: Callable[[Sequence[Item]], None], max_batch: int, error: type[BackendUnavailable]
    ) -> None:
        self._handle = handle
        self._max_batch = max_batch
        self._error = error
        self._lock = threading.Lock()
        self._has_leader = False  # whether a thread handles the queue, or has been woken up to do so
        self._is_paused = False
        self._items: list[Item] = []

    def run(self, item: Item) -> None:
        """Queue an item, and return when it is settled.

        :raises BaseException: what the item was settled with.
        """
        with self._lock:
            self._items.append(item)
            leads = not (self._has_leader or self._is_paused)
            self._has_leader = self._has_leader or leads
        if not leads:  # decided under the lock: the leader may call ``make_leader`` at any time after it
            leads = self._wait(item)
        if leads:
            self._run_as_leader(item)
        if item.failure is not None:
            raise item.failure

    def pause(self, deadline: float) -> bool:
        """Wait for the current batch, and let no thread handle the queue until ``resume`` is called.

        :param deadline: when to give up, in seconds of the monotonic clock.
        :returns: whether the batch ended in time.
        """
        with self._lock:
            self._is_paused = True
        while self._has_leader and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)
        return not self._has_leader

    def resume(self) -> None:
        """Let threads handle the queue again."""
        with self._lock:
            self._is_paused = False
            if not self._has_leader:
                self._hand_over()

    def requeue(self, items: Sequence[Item]) -> None:
        """Queue items of the current batch again, before all others."""
        with self._lock:
            self._items[:0] = items

    def take_all(self) -> Sequence[Item]:
        """Remove all items that are queued, and return them, to be settled."""
        with self._lock:
            items, self._items = self._items, []
        return items

    def _wait(self, item: Item) -> bool:
        """Block until an item is settled, or its thread is the leader; return whether it is.

        A signal handler or a timeout of the server may raise an exception here: the queue continues without the item.
        """
        try:
            return item.wait()
        except BaseException:
            with self._lock:
                if item in self._items:
                    self._items.remove(item)
                if item.is_leader:
                    self._hand_over()
            raise

    def _run_as_leader(self, item: Item) -> None:
        """Handle the queue until this item is settled; then let the next thread in the queue continue."""
        try:
            while not item.is_settled:
                self._handle_next_batch()
        finally:
            with self._lock:
                self._hand_over()

    def _hand_over(self) -> None:
        """Make the next thread the leader, if there is one and the queue is not paused. Call it under the lock."""
        self._has_leader = bool(self._items) and not self._is_paused
        if self._has_leader:
            self._items[0].make_leader()

    def _handle_next_batch(self) -> None:
        with self._lock:
            batch, self._items = self._items[: self._max_batch], self._items[self._max_batch :]
        try:
            self._handle(batch)
        except BaseException:  # the thread is being stopped: release the threads that wait for this batch
            for item in batch:
                if not item.is_settled:
                    item.settle(self._error("the server is stopping"))
            raise
