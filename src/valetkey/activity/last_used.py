"""When a grant or personal token was last used: noted in memory, written in batches, flushed at the process's end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from valetkey.storage import grants, personal_tokens
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Write

from .background import Background

_SECONDS_OF_PRECISION = 30.0
_MOST = 10_000

_Touch = Callable[[str, float], Bound]  # the row that says when a thing of this name was used


class LastUsed:
    """``note`` costs a dictionary look-up on the request's path; the background writes once a second."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background
        self._written: dict[str, float] = {}
        self._waiting: dict[str, tuple[_Touch, float]] = {}
        background.add(self.flush)

    def note(self, name: str, now: float, *, personal: bool = False) -> None:
        if now - self._written.get(name, 0.0) < _SECONDS_OF_PRECISION:
            return
        if len(self._written) >= _MOST:
            self._written.clear()
        self._written[name] = now
        self._waiting[name] = (personal_tokens.touch if personal else grants.touch, now)
        self._background.wake()

    def flush(self) -> None:
        """Write what waits. A store that is down loses it: nobody was told."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            with contextlib.suppress(StoreUnavailable):
                self._store.write(Write(rows=tuple(touch(name, at) for name, (touch, at) in waiting.items())))
