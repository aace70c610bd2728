"""Cache of the claims that were requested by name when a grant was made (OpenID Connect Core §5.5)."""

from __future__ import annotations

import json

from valetkey.storage import grants
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .feed_cache import FeedCache

_MAX_ENTRIES = 20_000
_SUBJECT_PREFIX = "grant "  # of entries in the change feed


class RequestedClaimsCache:
    """Cache of the names of the userinfo claims that were requested individually for each grant."""

    def __init__(self, store: Store, feed: ChangeFeed) -> None:
        self._store = store
        self._names: FeedCache[str, frozenset[str]] = FeedCache(
            feed, self._read, _changed_grant, max_entries=_MAX_ENTRIES
        )

    def find(self, grant_id: str, now: float) -> frozenset[str] | None:
        """Return the names of the claims, or ``None`` if the grant does not exist.

        The change feed is not read: call it after the access token was verified, which does.

        :raises StoreUnavailable: if the store cannot be read.
        """
        return self._names.get_without_refresh(grant_id, now)

    def _read(self, grant_id: str, _now: float) -> frozenset[str] | None:
        grant = grants.find(self._store, grant_id)
        return None if grant is None else frozenset(json.loads(grant.claims or "{}").get("userinfo", ()))


def _changed_grant(entry: ChangeFeedEntry) -> str | None:
    is_grant = entry.kind == "changed" and entry.subject.startswith(_SUBJECT_PREFIX)
    return entry.subject.removeprefix(_SUBJECT_PREFIX) if is_grant else None
