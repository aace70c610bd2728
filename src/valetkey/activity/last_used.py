"""When a grant or personal token was last used: noted in memory, written in batches, flushed at the process's end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from valetkey.storage import grants, personal_access_tokens
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

from .background import BackgroundThread

_PRECISION_S = 30.0
_MAX_ENTRIES = 10_000

_TouchFunction = Callable[[str, float], BoundStatement]  # the row that says when a thing of this name was used


class LastUsedBuffer:
    """``note`` costs a dictionary look-up on the request's path; the background writes once a second."""

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._recorded_at: dict[str, float] = {}
        self._pending: dict[str, tuple[_TouchFunction, float]] = {}
        background.add(self.flush)

    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None:
        if now - self._recorded_at.get(grant_or_token_id, 0.0) < _PRECISION_S:
            return
        if len(self._recorded_at) >= _MAX_ENTRIES:
            self._recorded_at.clear()
        self._recorded_at[grant_or_token_id] = now
        self._pending[grant_or_token_id] = (
            personal_access_tokens.set_last_used if personal else grants.set_last_used,
            now,
        )
        self._background.ensure_running()

    def flush(self) -> None:
        """Write what waits. A store that is down loses it: nobody was told."""
        waiting, self._pending = self._pending, {}
        if waiting:
            with contextlib.suppress(StoreUnavailable):
                self._store.write(Transaction(rows=tuple(touch(name, at) for name, (touch, at) in waiting.items())))
