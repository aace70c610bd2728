"""When a grant or personal token was last used: noted in memory, written in batches, flushed at the process's end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from multiprocessing import util

from valetkey.storage import grants, personal_tokens
from valetkey.storage.statement import Bound
from valetkey.storage.store import Store
from valetkey.storage.write import StoreUnavailable, Write

_SECONDS_BETWEEN_WRITES = 1.0
_SECONDS_OF_PRECISION = 30.0
_MOST = 10_000

_Touch = Callable[[str, float], Bound]  # the row that says when a thing of this name was used


class LastUsed:
    """``note`` costs a dictionary look-up on the request's path; a thread writes once a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, float] = {}
        self._waiting: dict[str, tuple[_Touch, float]] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def note(self, name: str, now: float, *, personal: bool = False) -> None:
        if now - self._written.get(name, 0.0) < _SECONDS_OF_PRECISION:
            return
        if len(self._written) >= _MOST:
            self._written.clear()
        self._written[name] = now
        self._waiting[name] = (personal_tokens.touch if personal else grants.touch, now)
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def flush(self) -> None:
        """Write what waits. A store that is down loses it: nobody was told."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            with contextlib.suppress(StoreUnavailable):
                self._store.write(Write(rows=tuple(touch(name, at) for name, (touch, at) in waiting.items())))

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5)
        self.flush()

    def _start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_flush_each_second, args=(self.flush, self._stop), name="valetkey-last-used", daemon=True
        )
        self._thread.start()
        # Worker processes end without atexit; multiprocessing's finalizers do run there.
        util.Finalize(self, self.flush, exitpriority=10)


def _flush_each_second(flush: Callable[[], None], stop: threading.Event) -> None:
    while not stop.wait(_SECONDS_BETWEEN_WRITES):
        flush()
