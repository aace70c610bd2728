"""The thread that writes once a second what requests noted in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from multiprocessing import util

_INTERVAL_S = 1.0
_log = logging.getLogger("valetkey")


class BackgroundThread:
    """Runs each of its jobs once a second and at the end of the process; starts when there is first something to do.

    A job that fails is told in the log and tried again. Each process has a thread of its own, also after a fork.
    """

    def __init__(self) -> None:
        self._jobs: list[Callable[[], None]] = []
        self._exit_jobs: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._stop_event = threading.Event()
        self._start_lock = threading.Lock()

    def add(self, job: Callable[[], None], *, at_exit: Callable[[], None] | None = None) -> None:
        """:param last: what is done in its place at the end of the process."""
        self._jobs.append(job)
        self._exit_jobs.append(at_exit or job)

    def ensure_running(self) -> None:
        """See that the thread runs; costs 0.1 us where it does."""
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def run_jobs(self) -> None:
        """Do all jobs now."""
        _run_all(self._jobs)

    def run_exit_jobs(self) -> None:
        """Do all jobs for the last time."""
        _run_all(self._exit_jobs)

    def close(self) -> None:
        """Stop, and finish."""
        self._stop_event.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5)
        self.run_exit_jobs()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop_event = threading.Event()
            self._thread = threading.Thread(
                target=_run_periodically,
                args=(self.run_jobs, self._stop_event),
                name="valetkey-background",
                daemon=True,
            )
            self._thread.start()
            # Worker processes end without atexit; multiprocessing's finalizers do run there.
            util.Finalize(self, self.run_exit_jobs, exitpriority=10)


def _run_all(jobs: Iterable[Callable[[], None]]) -> None:
    for job in jobs:
        try:
            job()
        except Exception:  # the others' work must not end with it
            _log.exception("a job of the background failed")


def _run_periodically(run_jobs: Callable[[], None], stop_event: threading.Event) -> None:
    while not stop_event.wait(_INTERVAL_S):
        run_jobs()
