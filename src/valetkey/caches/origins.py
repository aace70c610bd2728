"""Cache of the web origins of registered browser apps, which CORS responses allow.

All clients are read from the database once; a client is read again after its row has changed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from valetkey.storage import clients
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .feed_cache import FeedCache, changed_client

BROWSER_POLICY = "browser"
_DEFAULT_PORTS = {"http": 80, "https": 443}


_ALL = "all"  # key of the only value


@dataclass(slots=True)
class _Origins:
    by_client: dict[str, frozenset[str]]
    all: frozenset[str]
    changed_client_ids: set[str] = field(default_factory=set)  # clients to read again


class OriginCache:
    """Cache of the web origins of browser apps (clients with the policy ``browser``), from their redirect URIs."""

    def __init__(self, store: Store, feed: ChangeFeed) -> None:
        self._store = store
        self._cached: FeedCache[str, _Origins] = FeedCache(feed, self._read_all, self._note_change, max_entries=1)
        self._renew_lock()
        call_after_fork(self._renew_lock)

    def _renew_lock(self) -> None:
        self._update_lock = threading.Lock()

    def is_registered(self, origin: str, now: float) -> bool:
        """Return whether an enabled browser app has a redirect URI at this origin, such as ``https://app.example.org``.

        :raises StoreUnavailable: if the store cannot be read.
        """
        origins = self._cached.get(_ALL, now)
        if origins is None:
            return False
        if origins.changed_client_ids:
            with self._update_lock:
                self._read_changed(origins, now)
        return origin in origins.all

    def _read_all(self, _key: str, _now: float) -> _Origins:
        redirect_uris = clients.list_redirect_uris(self._store, BROWSER_POLICY)
        by_client = {client_id: origins_of(uris) for client_id, uris in redirect_uris}
        return _Origins(by_client, frozenset().union(*by_client.values()))

    def _note_change(self, entry: ChangeFeedEntry) -> str | None:
        """Note a changed client, so that only this client is read again; make a value stale that is being read."""
        client_id = changed_client(entry)
        if client_id is None:
            return None
        origins = self._cached.find(_ALL)
        if origins is None:
            return _ALL
        origins.changed_client_ids.add(client_id)
        return None

    def _read_changed(self, origins: _Origins, now: float) -> None:
        for client_id in list(origins.changed_client_ids):
            origins.changed_client_ids.discard(client_id)  # before the read: it may change again meanwhile
            try:
                client = clients.find(self._store, client_id, now)
            except BaseException:
                origins.changed_client_ids.add(client_id)
                raise
            if client is not None and client.disabled_at is None and client.policy.name == BROWSER_POLICY:
                origins.by_client[client_id] = origins_of(client.redirect_uris)
            else:
                origins.by_client.pop(client_id, None)
        origins.all = frozenset().union(*origins.by_client.values())


def origins_of(uris: tuple[str, ...]) -> frozenset[str]:
    """Return the origins of the http and https URLs among these URIs, as browsers send them (RFC 6454 §6.2)."""
    urls = [urlsplit(uri) for uri in uris]
    return frozenset(
        f"{url.scheme}://{_format_host(url.hostname)}"
        + ("" if url.port in {None, _DEFAULT_PORTS[url.scheme]} else f":{url.port}")
        for url in urls
        if url.scheme in _DEFAULT_PORTS and url.hostname
    )


def _format_host(hostname: str) -> str:
    return f"[{hostname}]" if ":" in hostname else hostname
