"""The thread of a server process that runs a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import util

from valetkey.storage.engine.daemon_thread import start_daemon_thread

from .worker import Worker


class WorkerThread:
    """The thread in which this process runs a worker. Of several processes with one, only one works at a time.

    :param make_worker: returns a new worker, which is not started yet.
    :param may_run: whether this process may have such a thread.
    """

    def __init__(self, make_worker: Callable[[], Worker], *, may_run: bool) -> None:
        self.may_run = may_run
        self._make_worker = make_worker
        self._stop_event = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Start the thread, unless it is running or must not run, or the system allows no more threads."""
        if not self.may_run or (self._thread is not None and self._thread.is_alive()):
            return
        self._stop_event, run = threading.Event(), self._make_worker().run
        self._thread = start_daemon_thread("valetkey-worker", run, self._stop_event)
        if self._thread is not None:
            # Server processes exit without atexit handlers, but with multiprocessing's finalizers.
            util.Finalize(self, _stop, (self._stop_event, self._thread), exitpriority=20)

    def stop(self) -> None:
        """Stop the thread, and wait up to 5 seconds for it to end."""
        if self._thread is not None:
            _stop(self._stop_event, self._thread)


def _stop(stop_event: threading.Event, thread: threading.Thread) -> None:
    stop_event.set()
    thread.join(timeout=5)
