"""Times when grants and personal access tokens were last used, collected in memory until they are written."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.storage import grants, personal_access_tokens
from valetkey.storage.engine.statement import BoundStatement

_PRECISION_S = 30.0
_MAX_ENTRIES = 10_000

_TouchFunction = Callable[[str, float], BoundStatement]  # returns the statement that sets the time of last use of an id


class LastUsedTimes:
    """The times when grants and personal access tokens were last used, accurate to 30 seconds. Not safe for threads."""

    def __init__(self) -> None:
        self._recorded_at: dict[str, float] = {}
        self._pending: dict[str, tuple[_TouchFunction, float]] = {}

    def record(self, token: AccessToken, now: float) -> None:
        """Record the time at which a token was used, unless one of the last 30 seconds is recorded for its grant.

        A token of a client that acts for itself has no grant, and is ignored.

        :param now: time of the use, in seconds since 1970.
        """
        is_personal = token.client_id == PERSONAL_TOKEN_CLIENT_ID
        used_id = token.jti if is_personal else token.grant_id
        # Below 0, the clock was set back.
        if used_id is None or 0.0 <= now - self._recorded_at.get(used_id, 0.0) < _PRECISION_S:
            return
        if len(self._recorded_at) >= _MAX_ENTRIES:
            self._recorded_at.clear()
        self._recorded_at[used_id] = now
        self._pending[used_id] = (personal_access_tokens.set_last_used if is_personal else grants.set_last_used, now)

    def take_updates(self) -> tuple[BoundStatement, ...]:
        """Return the SQL statements, not yet run, that store the recorded times, and forget those times."""
        pending, self._pending = self._pending, {}
        # By id: the same order in all processes, so that their row locks cannot deadlock.
        return tuple(touch(used_id, used_at) for used_id, (touch, used_at) in sorted(pending.items()))
