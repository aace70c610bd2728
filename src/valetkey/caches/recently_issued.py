"""What this process has just issued: whoever comes back with it here spares the store a question."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class JustIssued(Generic[T]):
    """Rows by the digest of their secret, each given out once.

    Whether they are so still is for the claim on them to find out: where it is lost, the store has to be asked.

    :param most: entries; when there are more, all are forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._issued: dict[bytes, T] = {}

    def add(self, digest: bytes, rows: T) -> None:
        if len(self._issued) >= self._most:
            self._issued = {}
        self._issued[digest] = rows

    def take(self, digest: bytes) -> T | None:
        return self._issued.pop(digest, None)
