"""Bounded cache that is read without a lock: above all for verified access tokens."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from valetkey.protocol.access_token import AccessToken

T = TypeVar("T")

_DEFAULT_MAX_ENTRIES = 10_000  # in each of two generations


class TwoGenerationCache(Generic[T]):
    """Cache of values that were read and verified once.

    The key is the text that the caller presented (decision 37), or a digest of it.

    Two generations bound the memory, and are read without a lock: when ``recent`` is full it replaces the previous
    generation. Values in use move back to ``recent``. The caller must check each time whether the value has expired or
    was revoked since.

    :param max_entries: entries in each generation.
    """

    def __init__(self, max_entries: int = _DEFAULT_MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self.recent: dict[str | bytes, T] = {}  # a hot path may look here before it calls ``find``, to save the call
        self._previous: dict[str | bytes, T] = {}
        # Without the lock, ``invalidate`` could run between the check of the generation and the write in ``add``.
        self._write_lock = threading.Lock()
        self.generation = 0  # number of calls of ``invalidate``

    def find(self, key: str | bytes) -> T | None:
        """Return the value, or ``None`` if it is not cached."""
        value = self.recent.get(key)
        if value is None:
            generation = self.generation
            value = self._previous.get(key)
            if value is not None:
                self.add(key, value, generation)
        return value

    def add(self, key: str | bytes, value: T, generation: int) -> None:
        """Cache a value, unless ``invalidate`` was called since it was read: it may have been verified with old keys.

        :param generation: the attribute ``generation`` as it was before the value was read.
        """
        with self._write_lock:
            if generation != self.generation:
                return
            if len(self.recent) >= self._max_entries:
                self._previous, self.recent = self.recent, {}
            self.recent[key] = value

    def discard(self, key: str | bytes) -> None:
        """Remove one value, if it is cached."""
        with self._write_lock:
            self.recent.pop(key, None)
            self._previous.pop(key, None)

    def invalidate(self) -> None:
        """Remove all values, because what they were verified with has changed."""
        with self._write_lock:
            self.generation += 1
            self.recent, self._previous = {}, {}


AccessTokenCache = TwoGenerationCache[AccessToken]
