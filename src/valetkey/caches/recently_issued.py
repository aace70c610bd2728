"""Cache of the authorization codes and refresh tokens that this process has just issued."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class RecentlyIssued(Generic[T]):
    """Rows of secrets that were just issued, by the secret's digest: the first use of a secret need not read them.

    The store may have changed since. The conditional write that uses the secret up verifies the rows; if it writes
    nothing, the caller must read the store (decision 39).

    :param max_entries: when there are this many entries, the next one replaces all.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[bytes, T] = {}

    def add(self, digest: bytes, rows: T) -> None:
        """Cache the rows of a secret that was just issued."""
        if len(self._entries) >= self._max_entries:
            self._entries = {}
        self._entries[digest] = rows

    def pop(self, digest: bytes) -> T | None:
        """Remove the rows of a secret and return them, or ``None`` if they are not cached."""
        return self._entries.pop(digest, None)
