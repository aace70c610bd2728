"""Background thread that writes to the database, once a second, what requests have recorded in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing import util

from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.daemon_thread import start_daemon_thread

_INTERVAL_S = 1.0
_log = logging.getLogger("valetkey")


class BackgroundThread:
    """Thread that runs each job once a second, and once more when the process exits.

    The first call of ``ensure_running`` starts the thread. If a job raises an exception, the exception is logged and
    the job runs again a second later. Each process has its own thread, also after a fork. If the system allows no more
    threads, what requests have recorded stays in memory, and the start is tried again.
    """

    def __init__(self) -> None:
        self._jobs: list[Callable[[], None]] = []
        self._exit_jobs: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._stop_event = threading.Event()
        self._renew_start_lock()
        call_after_fork(self._renew_start_lock)
        self.has_failed = False  # whether the last start failed; ``ensure_running`` tries again once a second
        self._retry_at = 0.0

    def _renew_start_lock(self) -> None:
        self._start_lock = threading.Lock()

    def add(self, job: Callable[[], None], *, at_exit: Callable[[], None] | None = None) -> None:
        """Add a job that runs once a second.

        :param at_exit: function that is called instead of ``job`` when the process exits.
        """
        self._jobs.append(job)
        self._exit_jobs.append(at_exit or job)

    def ensure_running(self) -> None:
        """Start the thread unless it is running or cannot be started. If it is running, the call takes 0.1 us."""
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def run_jobs(self) -> None:
        """Run all jobs now, in the calling thread."""
        _run_all(self._jobs)

    def run_exit_jobs(self) -> None:
        """Run what runs when the process exits: the ``at_exit`` function of each job, or else the job itself."""
        _run_all(self._exit_jobs)

    def close(self) -> None:
        """Stop the thread, wait up to 5 seconds for it to end, and call ``run_exit_jobs``."""
        self._stop_event.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5)
        self.run_exit_jobs()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None and self._thread.is_alive():
                return
            if self.has_failed and time.monotonic() < self._retry_at:
                return
            self._stop_event = threading.Event()
            self._thread = start_daemon_thread(
                "valetkey-background", _run_periodically, self.run_jobs, self._stop_event
            )
            self.has_failed = self._thread is None
            if self.has_failed:
                self._retry_at = time.monotonic() + _INTERVAL_S
                return
            # Worker processes exit without atexit handlers, but with multiprocessing's finalizers.
            util.Finalize(self, self.close, exitpriority=10)


def _run_all(jobs: Iterable[Callable[[], None]]) -> None:
    for job in jobs:
        try:
            job()
        except Exception:  # the other jobs must run all the same
            _log.exception("a background job failed")


def _run_periodically(run_jobs: Callable[[], None], stop_event: threading.Event) -> None:
    while not stop_event.wait(_INTERVAL_S):
        run_jobs()
