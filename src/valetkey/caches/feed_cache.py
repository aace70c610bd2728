"""Cache of values that are read from the database, and read again after the change feed has reported a change."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from valetkey.storage.change_feed import ChangeFeedEntry

from .change_feed import ChangeFeed

K = TypeVar("K")
V = TypeVar("V")


class FeedCache(Generic[K, V]):
    """Cache of values that are read from the database when they are first needed. Thread-safe; a hit takes no lock.

    A value is dropped when the change feed has an entry for its key, and all values are dropped when the whole feed is
    read. A value that was being read when such an entry arrived is returned but not cached, because it may be from
    before the change.

    :param load: reads the value of a key from the database; its second argument is the current time in seconds since
        1970. ``None`` means that there is no value; this result is not cached.
    :param changed_key: returns the key whose value an entry of the change feed makes stale, or ``None``.
    :param max_entries: maximum number of values. If there is one more, the value that was added first is dropped.
    :param ttl_s: how many seconds a value is used at most, or a function that returns this number for a value. They are
        measured with a clock that does not change when the system time is set.
    """

    def __init__(
        self,
        feed: ChangeFeed,
        load: Callable[[K, float], V | None],
        changed_key: Callable[[ChangeFeedEntry], K | None],
        *,
        max_entries: int,
        ttl_s: float | Callable[[V], float] = math.inf,
    ) -> None:
        self._feed = feed
        self._load = load
        self._changed_key = changed_key
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._entries: dict[K, tuple[V, float]] = {}  # with the uptime at which the value expires
        self._invalidations = 0
        self._lock = threading.Lock()
        feed.add_listener(self._on_entry, self.clear)

    def get(self, key: K, now: float) -> V | None:
        """Return the value of a key as it was at most a second ago; ``None`` if there is none.

        :raises StoreUnavailable: if the change feed or the value cannot be read.
        """
        self._feed.refresh()
        return self.get_without_refresh(key, now)

    def get_without_refresh(self, key: K, now: float) -> V | None:
        """Return the value of a key; ``None`` if there is none. The change feed is not read.

        Use it after ``ChangeFeed.refresh``, or if the cached value is good enough while the database is unavailable.

        :raises StoreUnavailable: if the value is not cached and cannot be read.
        """
        value = self.find(key)
        return self.load(key, now) if value is None else value

    def find(self, key: K, *, expired: bool = False) -> V | None:
        """Return the cached value of a key; ``None`` if it is not cached. The database is not read.

        :param expired: whether to return also a value whose time to live is over.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires_at = entry
        return value if expired or expires_at == math.inf or self._feed.uptime() < expires_at else None

    def load(self, key: K, now: float) -> V | None:
        """Read the value of a key from the database, cache it and return it; ``None`` if there is none.

        :raises StoreUnavailable: if the value cannot be read.
        """
        invalidations, read_at = self._invalidations, self._feed.uptime()
        value = self._load(key, now)
        if value is None:
            return None
        ttl_s = self._ttl_s(value) if callable(self._ttl_s) else self._ttl_s
        with self._lock:
            if invalidations == self._invalidations:  # else a value changed during the read: this one may be old
                if key not in self._entries and len(self._entries) >= self._max_entries:
                    del self._entries[next(iter(self._entries))]
                self._entries[key] = (value, read_at + ttl_s)
        return value

    def clear(self) -> None:
        """Drop all values, because any of them may have changed."""
        with self._lock:
            self._invalidations += 1
            self._entries.clear()

    def _on_entry(self, entry: ChangeFeedEntry) -> None:
        key = self._changed_key(entry)
        if key is not None:
            with self._lock:
                self._invalidations += 1
                self._entries.pop(key, None)


def changed_client(entry: ChangeFeedEntry) -> str | None:
    """Return the id of the client that an entry of the change feed says has changed; ``None`` if it is another entry.

    The result may also be the subject of another changed row, which is no client's id.
    """
    return entry.subject if entry.kind in {"changed", "client"} else None
