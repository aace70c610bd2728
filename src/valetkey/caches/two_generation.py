"""What was read and found good, by what the caller showed: access tokens above all."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from valetkey.protocol.access_token import AccessToken

T = TypeVar("T")

_DEFAULT_MAX_ENTRIES = 10_000  # in each of two generations


class TwoGenerationCache(Generic[T]):
    """What was read and verified once, found by the text that was shown (decision 37) or by a digest of it.

    Two generations bound the memory, and are read without a lock: when the young one is full it becomes the old one.
    Whether it has expired or was revoked since is for the caller to ask, each time.

    :param most: entries in each generation.
    """

    def __init__(self, max_entries: int = _DEFAULT_MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self.recent: dict[str | bytes, T] = {}  # for a look before ``find``: a call less where each one counts
        self._previous: dict[str | bytes, T] = {}
        self._write_lock = (
            threading.Lock()
        )  # else all could be forgotten between the look at the generation and the write
        self.generation = 0  # how often everything was forgotten

    def find(self, key: str | bytes) -> T | None:
        token = self.recent.get(key)
        if token is None:
            generation = self.generation
            token = self._previous.get(key)
            if token is not None:
                self.add(key, token, generation)
        return token

    def add(self, key: str | bytes, value: T, generation: int) -> None:
        """Remember a token, unless all were forgotten since it was read: it may have been read by what was in force.

        :param generation: ``generation`` from before the token was read.
        """
        with self._write_lock:
            if generation != self.generation:
                return
            if len(self.recent) >= self._max_entries:
                self._previous, self.recent = self.recent, {}
            self.recent[key] = value

    def discard(self, key: str | bytes) -> None:
        """Forget one."""
        with self._write_lock:
            self.recent.pop(key, None)
            self._previous.pop(key, None)

    def invalidate(self) -> None:
        with self._write_lock:
            self.generation += 1
            self.recent, self._previous = {}, {}


AccessTokenCache = TwoGenerationCache[AccessToken]
