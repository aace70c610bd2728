"""Which people are let in: asked of whoever keeps them; our own again after a minute, or when the feed names them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from valetkey.storage.revocations import Revocation

from .change_feed import RevocationFeed

_REMEMBERED = 10_000
_SECONDS = 60.0


class KnownOwners:
    """Remembers who is there.

    :param find: the person of a ``sub``; None: gone or disabled.
    :param tells: whether the feed names who is put out. A host may put people out without a word: it is asked each
        time.
    """

    def __init__(self, find: Callable[[str], object | None], feed: RevocationFeed, tells: Callable[[], bool]) -> None:
        self._find = find
        self._feed = feed
        self._tells = tells
        self._seen_at: dict[str, float] = {}
        self._ended = 0
        self._lock = threading.Lock()
        feed.listen(self._forget)

    def has(self, sub: str, now: float) -> bool:
        """Whether a person is let in.

        :raises StoreUnavailable: where the store cannot be read.
        """
        if not self._tells():
            return self._find(sub) is not None
        self._feed.refresh(now)
        seen_at = self._seen_at.get(sub)
        if seen_at is not None and 0 <= now - seen_at < _SECONDS:
            return True
        ended = self._ended
        if self._find(sub) is None:
            return False
        with self._lock:
            if ended == self._ended:  # else somebody was put out while we asked: do not remember what may be old
                if len(self._seen_at) >= _REMEMBERED:
                    self._seen_at = {}
                self._seen_at[sub] = now
        return True

    def _forget(self, entry: Revocation) -> None:
        if entry.kind == "owner":
            with self._lock:
                self._ended += 1
                self._seen_at.pop(entry.subject, None)
