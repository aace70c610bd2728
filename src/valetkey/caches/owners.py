"""Cache of resource owners that exist and are enabled."""

from __future__ import annotations

import threading
from collections.abc import Callable

from valetkey.storage.change_feed import ChangeFeedEntry

from .change_feed import ChangeFeed

_MAX_ENTRIES = 10_000
_TTL_S = 60.0


class OwnerCache:
    """Cache of resource owners that exist and are enabled.

    Owners with a built-in account are cached for a minute, or until they are disabled, which other processes learn from
    the change feed (the table of revocations and changes). A host app may disable its own users without an entry in
    that table, so they are looked up each time.

    :param find_owner: returns the owner with a ``sub``, or ``None`` if the owner does not exist or is disabled.
    :param feed_reports_disabled: returns whether the change feed gets an entry for each owner that is disabled; if
        not, nothing is cached.
    """

    def __init__(
        self, find_owner: Callable[[str], object | None], feed: ChangeFeed, feed_reports_disabled: Callable[[], bool]
    ) -> None:
        self._find_owner = find_owner
        self._feed = feed
        self._feed_reports_disabled = feed_reports_disabled
        self._checked_at: dict[str, float] = {}
        self._generation = 0
        self._lock = threading.Lock()
        feed.add_listener(self._on_change)

    def is_active(self, sub: str, now: float) -> bool:
        """Return whether the resource owner with this ``sub`` exists and is enabled.

        :raises StoreUnavailable: if the store cannot be read.
        """
        if not self._feed_reports_disabled():
            return self._find_owner(sub) is not None
        self._feed.refresh(now)
        checked_at = self._checked_at.get(sub)
        if checked_at is not None and 0 <= now - checked_at < _TTL_S:
            return True
        generation = self._generation
        if self._find_owner(sub) is None:
            return False
        with self._lock:
            if generation == self._generation:  # else an owner was disabled during the look-up: it may be this one
                if len(self._checked_at) >= _MAX_ENTRIES:
                    self._checked_at = {}
                self._checked_at[sub] = now
        return True

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind == "owner":
            with self._lock:
                self._generation += 1
                self._checked_at.pop(entry.subject, None)
