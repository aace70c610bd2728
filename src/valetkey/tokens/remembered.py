"""Tokens that were judged good, by the digest of what the caller showed."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from .access_token import AccessToken

T = TypeVar("T")

_MOST = 10_000  # in each of two generations


class Remembered(Generic[T]):
    """What was read and verified once: 6 us for the next call instead of 137.

    Two generations bound the memory, and are read without a lock: when the young one is full it becomes the old one.
    Whether a token has expired or was revoked since is for the caller to ask, each time.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}
        self._writing = threading.Lock()  # else all could be forgotten between the look at the generation and the write
        self.generation = 0  # how often everything was forgotten

    def find(self, digest: bytes) -> T | None:
        token = self._young.get(digest)
        if token is None:
            generation = self.generation
            token = self._old.get(digest)
            if token is not None:
                self.add(digest, token, generation)
        return token

    def add(self, digest: bytes, token: T, generation: int) -> None:
        """Remember a token, unless all were forgotten since it was read: it may have been read by what was in force.

        :param generation: ``generation`` from before the token was read.
        """
        with self._writing:
            if generation != self.generation:
                return
            if len(self._young) >= _MOST:
                self._old, self._young = self._young, {}
            self._young[digest] = token

    def drop(self, digest: bytes) -> None:
        """Forget one token."""
        self._young.pop(digest, None)
        self._old.pop(digest, None)

    def forget(self) -> None:
        with self._writing:
            self.generation += 1
            self._young, self._old = {}, {}


RememberedTokens = Remembered[AccessToken]
