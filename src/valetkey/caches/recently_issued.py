"""Cache of the authorization codes and refresh tokens that this process has just issued."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class RecentlyIssued(Generic[T]):
    """Cache of the database rows of authorization codes and refresh tokens that were just issued, by their digests.

    With it, the first use of a code or token needs no read of the database. The rows may have changed since: the SQL
    statement that marks the code or token as used verifies them, and changes nothing if they have changed; the caller
    must then read the database.

    :param max_entries: if there are this many entries, all are dropped when the next one is added.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[bytes, T] = {}

    def add(self, digest: bytes, rows: T) -> None:
        """Cache the rows of a code or refresh token that was just issued.

        :param digest: SHA-256 digest of the code or token.
        """
        if len(self._entries) >= self._max_entries:
            self._entries = {}
        self._entries[digest] = rows

    def pop(self, digest: bytes) -> T | None:
        """Remove and return the rows of the code or refresh token with this digest; ``None`` if they are not cached."""
        return self._entries.pop(digest, None)
