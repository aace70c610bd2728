"""Which people are let in: asked of whoever keeps them; our own again after a minute, or when the feed names them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from valetkey.storage.change_feed import ChangeFeedEntry

from .change_feed import ChangeFeed

_MAX_ENTRIES = 10_000
_TTL_S = 60.0


class OwnerCache:
    """Remembers who is there.

    :param find: the person of a ``sub``; None: gone or disabled.
    :param tells: whether the feed names who is put out. A host may put people out without a word: it is asked each
        time.
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
        """Whether a person is let in.

        :raises StoreUnavailable: where the store cannot be read.
        """
        if not self._feed_reports_disabled():
            return self._find_owner(sub) is not None
        self._feed.refresh(now)
        seen_at = self._checked_at.get(sub)
        if seen_at is not None and 0 <= now - seen_at < _TTL_S:
            return True
        ended = self._generation
        if self._find_owner(sub) is None:
            return False
        with self._lock:
            if ended == self._generation:  # else somebody was put out while we asked: do not remember what may be old
                if len(self._checked_at) >= _MAX_ENTRIES:
                    self._checked_at = {}
                self._checked_at[sub] = now
        return True

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind == "owner":
            with self._lock:
                self._generation += 1
                self._checked_at.pop(entry.subject, None)
