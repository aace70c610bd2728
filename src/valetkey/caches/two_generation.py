"""What was read and found good, by what the caller showed: access tokens above all."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from valetkey.protocol.access_token import AccessToken

T = TypeVar("T")

_MOST = 10_000  # in each of two generations


class TwoGenerationCache(Generic[T]):
    """What was read and verified once, found by the text that was shown (decision 37) or by a digest of it.

    Two generations bound the memory, and are read without a lock: when the young one is full it becomes the old one.
    Whether it has expired or was revoked since is for the caller to ask, each time.

    :param most: entries in each generation.
    """

    def __init__(self, max_entries: int = _MOST) -> None:
        self._most = max_entries
        self.recent: dict[str | bytes, T] = {}  # for a look before ``find``: a call less where each one counts
        self._old: dict[str | bytes, T] = {}
        self._writing = threading.Lock()  # else all could be forgotten between the look at the generation and the write
        self.generation = 0  # how often everything was forgotten

    def find(self, shown: str | bytes) -> T | None:
        token = self.recent.get(shown)
        if token is None:
            generation = self.generation
            token = self._old.get(shown)
            if token is not None:
                self.add(shown, token, generation)
        return token

    def add(self, shown: str | bytes, token: T, generation: int) -> None:
        """Remember a token, unless all were forgotten since it was read: it may have been read by what was in force.

        :param generation: ``generation`` from before the token was read.
        """
        with self._writing:
            if generation != self.generation:
                return
            if len(self.recent) >= self._most:
                self._old, self.recent = self.recent, {}
            self.recent[shown] = token

    def drop(self, shown: str | bytes) -> None:
        """Forget one."""
        with self._writing:
            self.recent.pop(shown, None)
            self._old.pop(shown, None)

    def forget(self) -> None:
        with self._writing:
            self.generation += 1
            self.recent, self._old = {}, {}


RememberedTokens = TwoGenerationCache[AccessToken]
