"""Cache of resource owners: whether they exist and are enabled."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.storage.change_feed import ChangeFeedEntry

from .change_feed import ChangeFeed
from .feed_cache import FeedCache

_MAX_ENTRIES = 10_000
_TTL_S = 60.0
_UNKNOWN_TTL_S = 5.0  # how long the guard refuses an owner who was not found


class OwnerCache:
    """Cache of resource owners: whether they exist and are enabled.

    Owners with a built-in account are cached for a minute, or until they are disabled, which other processes learn from
    the change feed (the table of revocations and changes). A host app may disable its own users without an entry in
    that table. So they are looked up each time that tokens are issued, and cached for calls of the API only.

    :param find_owner: returns the owner with a ``sub``, or ``None`` if the owner does not exist or is disabled.
    :param feed_reports_disabled: returns whether the change feed gets an entry for each owner that is disabled.
    """

    def __init__(
        self, find_owner: Callable[[str], object | None], feed: ChangeFeed, feed_reports_disabled: Callable[[], bool]
    ) -> None:
        self._find_owner = find_owner
        self._feed = feed
        self._feed_reports_disabled = feed_reports_disabled
        self._is_active: FeedCache[str, bool] = FeedCache(
            feed,
            self._look_up,
            _changed_owner,
            max_entries=_MAX_ENTRIES,
            ttl_s=lambda is_active: _TTL_S if is_active else _UNKNOWN_TTL_S,
        )

    def is_active(self, sub: str, now: float) -> bool:
        """Return whether the resource owner with this ``sub`` exists and is enabled.

        :raises BackendUnavailable: if the owner cannot be looked up.
        """
        if self._feed_reports_disabled():
            self._feed.refresh()
            if self._is_active.find(sub):
                return True
        return bool(self._is_active.load(sub, now))

    def was_active_recently(self, sub: str, now: float, *, accept_outage: bool = False) -> bool:
        """Return whether the owner was active when last looked up: within 60 seconds, or 5 if the owner was not found.

        It does not read the change feed: call it after the access token was verified, which does.

        :param accept_outage: whether an owner who was active at the last look-up, however long ago, is active while the
            owner cannot be looked up.
        :raises BackendUnavailable: if the owner cannot be looked up.
        """
        try:
            return bool(self._is_active.get_without_refresh(sub, now))
        except BackendUnavailable:
            if accept_outage and self._is_active.find(sub, expired=True):
                return True
            raise

    def _look_up(self, sub: str, _now: float) -> bool:
        return self._find_owner(sub) is not None


def _changed_owner(entry: ChangeFeedEntry) -> str | None:
    return entry.subject if entry.kind == "owner" else None
