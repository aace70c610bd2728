"""The thread that writes once a second what requests noted in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from multiprocessing import util

_SECONDS = 1.0
_log = logging.getLogger("valetkey")


class Background:
    """Runs each of its jobs once a second and at the end of the process; starts when there is first something to do.

    A job that fails is told in the log and tried again. Each process has a thread of its own, also after a fork.
    """

    def __init__(self) -> None:
        self._jobs: list[Callable[[], None]] = []
        self._last_jobs: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._starting = threading.Lock()

    def add(self, job: Callable[[], None], *, last: Callable[[], None] | None = None) -> None:
        """:param last: what is done in its place at the end of the process."""
        self._jobs.append(job)
        self._last_jobs.append(last or job)

    def wake(self) -> None:
        """See that the thread runs; costs 0.1 us where it does."""
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def run(self) -> None:
        """Do all jobs now."""
        _do(self._jobs)

    def finish(self) -> None:
        """Do all jobs for the last time."""
        _do(self._last_jobs)

    def close(self) -> None:
        """Stop, and finish."""
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5)
        self.finish()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=_each_second, args=(self.run, self._stop), name="valetkey-background", daemon=True
            )
            self._thread.start()
            # Worker processes end without atexit; multiprocessing's finalizers do run there.
            util.Finalize(self, self.finish, exitpriority=10)


def _do(jobs: Iterable[Callable[[], None]]) -> None:
    for job in jobs:
        try:
            job()
        except Exception:  # the others' work must not end with it
            _log.exception("a job of the background failed")


def _each_second(run: Callable[[], None], stop: threading.Event) -> None:
    while not stop.wait(_SECONDS):
        run()
