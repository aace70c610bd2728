"""A process's copy of the change feed: the table in which revocations and changed rows are announced.

The copy is at most one second old.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from valetkey.protocol.access_token import AccessToken
from valetkey.storage import change_feed
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable

REFRESH_INTERVAL_S, _MAX_AGE_S = 0.5, 1.0
_NEVER = -10.0  # before any token was issued
_OVERLAP_S = 10.0  # a row is committed up to 5 s after the time in its column ``at``
_RELOAD_INTERVAL_S = 600.0  # the whole feed is read again, so that expired entries are dropped


class ChangeFeed:
    """A process's copy of the change feed: the entries by which processes announce revocations and changed rows.

    Requests call ``refresh``, which reads new entries from the database if the copy is over half a second old, so no
    thread is needed.

    :param accept_outage: use the existing copy, however old, while the database cannot be read
        (setting ``revocation_outage="accept"``).
    """

    def __init__(self, store: Store, *, accept_outage: bool = False) -> None:
        self._store = store
        self._accept_outage = accept_outage
        self._lock = threading.Lock()
        self._listeners: list[Callable[[ChangeFeedEntry], None]] = []
        self.read_at = 0.0  # time of the last read, seconds since 1970; 0: not read since ``invalidate``
        self._invalidations = 0  # number of calls of ``invalidate``
        self.has_revocations = False  # if false, ``is_revoked`` is false for every token
        self._read_up_to = 0.0
        self._reloaded_at = 0.0
        self._seen_ids: set[int] = set()
        self._revoked: set[tuple[str, str]] = set()  # ("token", jti), ("grant", grant_id)
        self._revoked_before: dict[tuple[str, str], float] = {}  # ("client", id), ("owner", sub), ("all", "")

    def add_listener(self, listener: Callable[[ChangeFeedEntry], None]) -> None:
        """Register a function to call with each new entry of the change feed; caches use it to drop what changed.

        ``refresh`` calls it before it returns. Each time the whole feed is read again (every 10 minutes), the function
        is called with every entry again.
        """
        self._listeners.append(listener)

    def invalidate(self) -> None:
        """Make the next ``refresh`` read the change feed, because this process has just written to it."""
        self._invalidations += 1
        self.read_at = 0.0

    def refresh(self, now: float) -> None:
        """Read new entries of the change feed from the database if this copy is over half a second old.

        While another thread reads, a copy that is at most one second old is used as it is.

        :param now: seconds since 1970.
        :raises StoreUnavailable: if the database cannot be read and the copy is over one second old, unless
            ``accept_outage`` was set.
        """
        age = now - self.read_at
        if 0 <= age <= REFRESH_INTERVAL_S:
            return
        if self._lock.acquire(blocking=not 0 <= age <= _MAX_AGE_S):
            try:
                if not 0 <= now - self.read_at <= REFRESH_INTERVAL_S:
                    self._read(now)
            finally:
                self._lock.release()

    def is_revoked(self, token: AccessToken) -> bool:
        """Return whether an access token is revoked, by the entries that the last ``refresh`` read.

        An entry may revoke the token itself, its grant, or all tokens that were issued up to a time: the tokens of one
        client, those of one resource owner, or all tokens of the server.

        One second is added to that time: a process whose copy was one second old may have issued a token to a client
        that had just been disabled, and that token is revoked too.
        """
        revoked = self._revoked
        if revoked and (("token", token.jti) in revoked or ("grant", token.grant_id) in revoked):
            return True
        revoked_before = self._revoked_before
        return bool(revoked_before) and any(
            token.issued_at <= revoked_before.get(key, _NEVER) + _MAX_AGE_S
            for key in (("client", token.client_id), ("owner", token.user_id or ""), ("all", ""))
        )

    def _read(self, now: float) -> None:
        invalidations = self._invalidations
        reload_all = self._reloaded_at == 0.0 or now - self._reloaded_at > _RELOAD_INTERVAL_S or now < self._reloaded_at
        try:
            entries = change_feed.list_since(self._store, 0.0 if reload_all else self._read_up_to - _OVERLAP_S)
        except StoreUnavailable:
            if self._accept_outage:
                self.read_at = now
            elif not 0 <= now - self.read_at <= _MAX_AGE_S:
                raise
            return
        new_entries = [entry for entry in entries if reload_all or entry.revocation_id not in self._seen_ids]
        # After a reload, new sets are filled before they replace the old ones: no other thread may see half a feed.
        revoked: set[tuple[str, str]] = set() if reload_all else self._revoked
        revoked_before: dict[tuple[str, str], float] = {} if reload_all else self._revoked_before
        for entry in new_entries:
            if entry.kind in {"token", "grant"}:
                revoked.add((entry.kind, entry.subject))
            elif entry.kind != "changed":
                key = (entry.kind, entry.subject)
                revoked_before[key] = max(entry.at, revoked_before.get(key, 0.0))
        self._revoked, self._revoked_before = revoked, revoked_before
        self.has_revocations = bool(revoked or revoked_before)
        self._seen_ids = {entry.revocation_id for entry in entries}
        self._read_up_to = now
        self._reloaded_at = now if reload_all else self._reloaded_at
        for entry in new_entries:
            for listener in self._listeners:
                listener(entry)
        if invalidations == self._invalidations:  # else this process wrote to the feed during the read: read again
            self.read_at = now
