"""What this process has just issued: whoever comes back with it here spares the store a question."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class RecentlyIssued(Generic[T]):
    """Rows by the digest of their secret, each given out once.

    Whether they are so still is for the claim on them to find out: where it is lost, the store has to be asked.

    :param most: entries; when there are more, all are forgotten.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[bytes, T] = {}

    def add(self, digest: bytes, rows: T) -> None:
        if len(self._entries) >= self._max_entries:
            self._entries = {}
        self._entries[digest] = rows

    def pop(self, digest: bytes) -> T | None:
        return self._entries.pop(digest, None)
