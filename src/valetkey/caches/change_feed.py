"""The revocation feed as one process sees it: never over a second old."""

from __future__ import annotations

import threading
from collections.abc import Callable

from valetkey.protocol.access_token import AccessToken
from valetkey.storage import change_feed
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable

REFRESH_INTERVAL_S, _MAX_AGE_S = 0.5, 1.0  # seconds
_NEVER = -10.0
_OVERLAP_S = 10.0  # a row is committed up to 5 s after the moment that it bears
_RELOAD_INTERVAL_S = 600.0  # from the start again, so that what has expired is forgotten


class ChangeFeed:
    """What is revoked. ``refresh`` reads the feed on the request's path when the view is over half a second old."""

    def __init__(self, store: Store, *, accept_outage: bool = False) -> None:
        self._store = store
        self._accept_outage = accept_outage
        self._lock = threading.Lock()
        self._listeners: list[Callable[[ChangeFeedEntry], None]] = []
        self.read_at = 0.0  # as the clock said
        self._invalidations = 0  # times
        self.has_revocations = False  # or none is revoked
        self._read_up_to = 0.0
        self._reloaded_at = 0.0
        self._seen_ids: set[int] = set()
        self._revoked: set[tuple[str, str]] = set()  # ("token", jti), ("grant", grant_id)
        self._revoked_before: dict[tuple[str, str], float] = {}  # ("client", id), ("owner", sub), ("all", "")

    def add_listener(self, listener: Callable[[ChangeFeedEntry], None]) -> None:
        """Call the listener with each new entry; it is how caches learn that a client changed."""
        self._listeners.append(listener)

    def invalidate(self) -> None:
        """Read again before the next verdict: this process has just written."""
        self._invalidations += 1
        self.read_at = 0.0

    def refresh(self, now: float) -> None:
        """See that the view is fresh enough to judge by.

        :raises StoreUnavailable: where the store cannot be read and the view is over a second old.
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
        """Whether the feed names the token, its grant, its client, its owner, or all of its time.

        A process whose view was a second old may have issued one to a client that was just disabled: it is dead too.
        """
        dead = self._revoked
        if dead and (("token", token.jti) in dead or ("grant", token.grant_id) in dead):
            return True
        before = self._revoked_before
        return bool(before) and any(
            token.issued_at <= before.get(key, _NEVER) + _MAX_AGE_S
            for key in (("client", token.client_id), ("owner", token.user_id or ""), ("all", ""))
        )

    def _read(self, now: float) -> None:
        expired = self._invalidations
        whole = self._reloaded_at == 0.0 or now - self._reloaded_at > _RELOAD_INTERVAL_S or now < self._reloaded_at
        try:
            entries = change_feed.list_since(self._store, 0.0 if whole else self._read_up_to - _OVERLAP_S)
        except StoreUnavailable:
            if self._accept_outage:
                self.read_at = now
            elif not 0 <= now - self.read_at <= _MAX_AGE_S:
                raise
            return
        new = [entry for entry in entries if whole or entry.revocation_id not in self._seen_ids]
        # A whole view is filled before it replaces the old one: no verdict may fall on a half-read feed.
        dead: set[tuple[str, str]] = set() if whole else self._revoked
        before: dict[tuple[str, str], float] = {} if whole else self._revoked_before
        for entry in new:
            if entry.kind in {"token", "grant"}:
                dead.add((entry.kind, entry.subject))
            elif entry.kind != "changed":
                key = (entry.kind, entry.subject)
                before[key] = max(entry.at, before.get(key, 0.0))
        self._revoked, self._revoked_before, self.has_revocations = dead, before, bool(dead or before)
        self._seen_ids = {entry.revocation_id for entry in entries}
        self._read_up_to = now
        self._reloaded_at = now if whole else self._reloaded_at
        for entry in new:
            for listener in self._listeners:
                listener(entry)
        if expired == self._invalidations:  # else it was written after we asked
            self.read_at = now
