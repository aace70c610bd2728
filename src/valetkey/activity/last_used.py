"""Times when grants and personal access tokens were last used: recorded in memory, written in batches."""

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

_TouchFunction = Callable[[str, float], BoundStatement]  # returns the statement that sets the time of last use of an id


class LastUsedBuffer:
    """Buffer for the times when grants and personal access tokens were last used, accurate to 30 seconds.

    ``record`` only costs the request a dictionary look-up. The background thread writes the times to the database once
    a second and when the process exits.
    """

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._recorded_at: dict[str, float] = {}
        self._pending: dict[str, tuple[_TouchFunction, float]] = {}
        background.add(self.flush)

    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None:
        """Record that a grant or a personal access token was used; at most one use in 30 seconds is recorded.

        :param grant_or_token_id: id of the grant; id of the personal access token if ``personal`` is true.
        :param now: time of the use, in seconds since 1970.
        """
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
        """Write the recorded times of last use to the database.

        If the database is unavailable, the times are dropped: no response has promised them.
        """
        pending, self._pending = self._pending, {}
        if pending:
            with contextlib.suppress(StoreUnavailable):
                self._store.write(
                    Transaction(rows=tuple(touch(used_id, used_at) for used_id, (touch, used_at) in pending.items()))
                )
