"""A process's copy of the change feed: the table in which revocations and changed rows are announced.

The copy is at most one second old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from valetkey.protocol.access_token import AccessToken
from valetkey.storage import change_feed
from valetkey.storage.change_feed import ChangeFeedEntry, FeedRead
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.revocation_check import NOTHING_SEEN, SeenRevocations

REFRESH_INTERVAL_S, _MAX_AGE_S = 0.5, 1.0
_NEVER = float("-inf")
# The whole feed is read again after this time, so that expired entries are dropped. It is far shorter than the
# retention of entries, so that a process which was idle or stopped for longer drops what it has cached.
_RELOAD_INTERVAL_S = 3600.0
_MAX_SOUGHT_IDS = 10_000
# So long a revocation of a client, an owner or all tokens is in force: a later token is from a process that had read
# the entry, or has started since it was pruned. One hour of the retention is left for clocks that differ.
_IN_FORCE_S = change_feed.RETENTION_S - 3600.0
_OLD_TOKEN_MARGIN_S = 60.0  # for tokens that do not say which entries their issuer had read: clocks may differ
# Seconds that no correction of the clock changes; on Linux they include the time while the machine is suspended.
_UPTIME_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_Key = tuple[str, str]  # kind and subject of an entry


class FeedView(NamedTuple):
    """The revocations of clients, resource owners and all tokens that a process had read at one moment.

    Take it before the checks of a request: a revocation that it does not have is then one that the checks may have
    missed, and it revokes what the request issues. No clock is involved. The view can be half a second old: a token
    that is issued so soon after a revocation of its client or user can be refused from the beginning.

    :param ids: ids of the newest entries in the change feed, by kind and subject.
    """

    ids: Mapping[_Key, int]

    def seen_revocations(self, client_id: str, owner: str | None) -> SeenRevocations:
        """Return the entries of one client, of one resource owner and of all tokens.

        :param owner: the owner's ``sub``; ``None`` for tokens of a client's own.
        """
        ids = self.ids
        if not ids:
            return NOTHING_SEEN
        owner_id = ids.get(("owner", owner), 0) if owner is not None else 0
        return SeenRevocations(ids.get(("client", client_id), 0), owner_id, ids.get(("all", ""), 0))


_read_uptime = partial(time.clock_gettime, _UPTIME_CLOCK)


class ChangeFeed:
    """A process's copy of the change feed: the entries by which processes announce revocations and changed rows.

    Requests call ``refresh``, which reads new entries from the database if the copy is over half a second old, so no
    thread is needed.

    :param accept_outage: use the existing copy, however old, while the database cannot be read
        (setting ``revocation_outage="accept"``). A copy that lacks what this process has written itself is not used.
    """

    def __init__(self, store: Store, *, accept_outage: bool = False) -> None:
        self._store = store
        self._accept_outage = accept_outage
        self.uptime: Callable[[], float] = _read_uptime  # its unit is seconds
        self._renew_lock()
        call_after_fork(self._renew_lock)
        self._listeners: list[tuple[Callable[[ChangeFeedEntry], None], Callable[[], None]]] = []
        self.read_at = _NEVER  # uptime of the last read, or never since ``invalidate``
        self._writes = self._writes_read = 0  # calls of ``invalidate``; those before the last read
        self.has_revocations = False  # if false, ``is_revoked`` is false for every token
        self._position: str | None = None
        self._sought_ids: set[int] = set()  # ids for which ``catch_up`` has read the feed
        self._reloaded_at = (_NEVER, _NEVER)  # uptime and Unix time
        self._has_withdrawn_scopes = False
        self._revoked: set[_Key] = set()  # ("token", jti), ("grant", grant_id), ("scope", "grant_id name")
        # ("client", id), ("owner", sub), ("all", ""); replaced by a new dictionary with each change
        self._last_entries: dict[_Key, ChangeFeedEntry] = {}
        self._view = FeedView({})

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # only one thread reads the feed at a time

    def add_listener(self, on_entry: Callable[[ChangeFeedEntry], None], on_reload: Callable[[], None]) -> None:
        """Register functions by which a cache drops what changed; ``refresh`` calls them before it returns.

        :param on_entry: called with each new entry of the change feed.
        :param on_reload: called each time that the whole feed is read, once an hour and after a longer pause: the cache
            must drop everything, because entries may have been added and pruned meanwhile.
        """
        self._listeners.append((on_entry, on_reload))

    def invalidate(self) -> None:
        """Make the next ``refresh`` read the change feed, because this process may have written to it."""
        self._writes += 1
        self.read_at = _NEVER

    def after_write(self, transaction: Transaction) -> None:
        """Read what this process has just announced in the change feed, if it may have announced something.

        If the database cannot be read, the next ``refresh`` tries again.
        """
        if change_feed.announces(transaction):
            self.invalidate()
            with suppress(StoreUnavailable):
                self.refresh()

    def refresh(self) -> None:
        """Read new entries of the change feed from the database if this copy is over half a second old.

        While another thread reads, a copy that is at most one second old is used as it is.

        :raises StoreUnavailable: if the database cannot be read and the copy is over one second old, unless
            ``accept_outage`` was set.
        """
        age = self.uptime() - self.read_at
        if 0 <= age <= REFRESH_INTERVAL_S:
            return
        if self._lock.acquire(blocking=not 0 <= age <= _MAX_AGE_S):
            try:
                if not 0 <= self.uptime() - self.read_at <= REFRESH_INTERVAL_S:
                    self._read()
            finally:
                self._lock.release()

    def get_view(self) -> FeedView:
        """Return the revocations that are known now, after ``refresh``; call this before the checks of a request.

        :raises StoreUnavailable: as ``refresh``.
        """
        self.refresh()
        return self._view

    def is_revoked(self, token: AccessToken) -> bool:
        """Return whether an access token is revoked, by the entries that the last ``refresh`` read.

        An entry may revoke the token itself, its grant, the grant's tokens with one scope, or the tokens of one client,
        of one resource owner or of the server. The last three revoke each token whose issuer had not read the entry
        before it checked the token request.
        """
        revoked = self._revoked
        if revoked and (("token", token.jti) in revoked or ("grant", token.grant_id) in revoked):
            return True
        if self._has_withdrawn_scopes and any(
            ("scope", f"{token.grant_id} {name}") in revoked for name in token.scopes
        ):
            return True
        entries = self._last_entries
        if not entries:
            return False
        for key in _keys_of(token):
            entry = entries.get(key)
            if entry is not None and _revokes(entry, token):
                return True
        return False

    def catch_up(self, token: AccessToken) -> None:
        """Read new entries now if the issuer of a revoked token may have read later ones than this process.

        If ``is_revoked`` returned true, call this and ``is_revoked`` again before the token is refused: the issuer may
        have read a newer revocation of the same client or user, which replaces the one that this process has.

        :raises StoreUnavailable: as ``refresh``.
        """
        if self._find_missing_ids(token):
            with self._lock:
                missing_ids = self._find_missing_ids(token)
                if missing_ids:
                    self._read()
                    # Once for each id: after a restore, the database may not have it.
                    if len(self._sought_ids) >= _MAX_SOUGHT_IDS:
                        self._sought_ids.clear()
                    self._sought_ids |= missing_ids

    def _find_missing_ids(self, token: AccessToken) -> set[int]:
        """Return the ids in a token that may be of newer entries than those by which the token is revoked.

        Only entries of the same client, resource owner, or server are compared: their ids are in the order of the
        commits, but those of others are not.
        """
        seen = token.seen_revocations or ()
        entries = (self._last_entries.get(key) for key in _keys_of(token))
        ids = {entry.revocation_id for entry in entries if entry is not None}
        revoking_ids = ids.difference(seen)
        if not revoking_ids:
            return set()
        oldest_id = min(revoking_ids)
        return {seen_id for seen_id in seen if seen_id > oldest_id} - ids - self._sought_ids

    def _read(self) -> None:
        began_at, unix_time, writes = self.uptime(), time.time(), self._writes
        last_uptime, last_unix_time = self._reloaded_at
        is_recent = (
            0 <= began_at - last_uptime < _RELOAD_INTERVAL_S and 0 <= unix_time - last_unix_time < _RELOAD_INTERVAL_S
        )
        try:
            result = change_feed.read(self._store, self._position if is_recent else None)
        except StoreUnavailable:
            if self._accept_outage and self._position is not None and self._writes_read == self._writes:
                self.read_at = began_at
            elif not 0 <= self.uptime() - self.read_at <= _MAX_AGE_S:
                raise
            return
        self._apply(result)
        self._position, self._writes_read = result.position, writes
        if result.is_complete:
            self._reloaded_at = (began_at, unix_time)
        if writes == self._writes:  # else this process wrote to the feed during the read: read again
            self.read_at = began_at

    def _apply(self, result: FeedRead) -> None:
        # New collections are filled before they replace the old ones: no other thread may see half a feed.
        revoked: set[_Key] = set() if result.is_complete else self._revoked
        last_entries: dict[_Key, ChangeFeedEntry] = {} if result.is_complete else dict(self._last_entries)
        for entry in result.entries:
            if entry.kind in {"token", "grant", "scope"}:
                revoked.add((entry.kind, entry.subject))
            elif entry.kind != "changed":
                last_entries[entry.kind, entry.subject] = entry
        self._revoked, self._last_entries = revoked, last_entries
        self._has_withdrawn_scopes = any(kind == "scope" for kind, _ in revoked)
        self.has_revocations = bool(revoked or last_entries)
        for on_entry, on_reload in self._listeners:
            if result.is_complete:
                on_reload()
            else:
                for entry in result.entries:
                    on_entry(entry)
        # After the listeners, so that a request with this view finds no cached value that is older than its entries.
        self._view = FeedView({key: entry.revocation_id for key, entry in last_entries.items()})


def _keys_of(token: AccessToken) -> tuple[_Key, _Key, _Key]:
    """Return the keys of the entries that may revoke a token together with others."""
    return ("client", token.client_id), ("owner", token.user_id or ""), ("all", "")


def _revokes(entry: ChangeFeedEntry, token: AccessToken) -> bool:
    if token.seen_revocations is None:  # issued by an earlier version
        return token.issued_at <= entry.at + _OLD_TOKEN_MARGIN_S
    return entry.revocation_id not in token.seen_revocations and token.issued_at < entry.at + _IN_FORCE_S
