"""Cache of limited size that is read without a lock, mainly for verified access tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from valetkey.protocol.access_token import AccessToken

T = TypeVar("T")

_DEFAULT_MAX_ENTRIES = 10_000  # in each of two generations


class TwoGenerationCache(Generic[T]):
    """Cache of values that were verified once, such as access tokens. Thread-safe; reading needs no lock.

    The key is the text that the client sent, such as the Authorization header, or a digest of it. The user of the cache
    must check at each use whether the value has expired or was revoked since.

    Two dictionaries limit the memory: when ``_recent`` is full, it replaces the previous one, whose values are dropped.
    Values that are used move back to ``_recent``.

    :param max_entries: maximum number of entries in each of the two dictionaries.
    """

    def __init__(self, max_entries: int = _DEFAULT_MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._recent: dict[str | bytes, T] = {}
        self._previous: dict[str | bytes, T] = {}
        # Without the lock, ``invalidate`` could run between the check of the generation and the write in ``add``.
        self._write_lock = threading.Lock()
        self.generation = 0  # number of calls of ``invalidate`` and ``invalidate_keys``

    def find(self, key: str | bytes) -> T | None:
        """Return the value cached for this key, or ``None`` if there is none."""
        value = self._recent.get(key)
        if value is None:
            generation = self.generation
            value = self._previous.get(key)
            if value is not None:
                self.add(key, value, generation)
        return value

    def add(self, key: str | bytes, value: T, generation: int) -> None:
        """Cache a value, unless the cache was invalidated since it was verified: the signing keys may have been old.

        :param generation: the attribute ``generation`` as it was before the value was verified.
        """
        with self._write_lock:
            if generation != self.generation:
                return
            if len(self._recent) >= self._max_entries:
                self._previous, self._recent = self._recent, {}
            self._recent[key] = value

    def discard(self, key: str | bytes) -> None:
        """Remove the value cached for this key, if there is one."""
        with self._write_lock:
            self._recent.pop(key, None)
            self._previous.pop(key, None)

    def invalidate_keys(self, keys: Iterable[str | bytes]) -> None:
        """Remove the values of some keys, because what they were verified with has changed.

        A value that is being verified at this moment is not cached, whatever its key is: it may be one of them.
        """
        with self._write_lock:
            self.generation += 1
            for key in keys:
                self._recent.pop(key, None)
                self._previous.pop(key, None)

    def invalidate(self) -> None:
        """Remove all values, because what they were verified with, such as the signing keys, has changed."""
        with self._write_lock:
            self.generation += 1
            self._recent, self._previous = {}, {}


AccessTokenCache = TwoGenerationCache[AccessToken]
