"""Cache of the web origins of registered browser apps, which CORS responses allow.

All clients are read from the database once; a client is read again after its row has changed.
"""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from valetkey.storage import clients
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed

BROWSER_POLICY = "browser"
# Entries of the feed are deleted after some minutes, and could be missed by a process that reads it seldom.
_MAX_IDLE_S, _RELOAD_INTERVAL_S = 60.0, 600.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OriginCache:
    """Cache of the web origins of browser apps (clients with the policy ``browser``), from their redirect URIs."""

    def __init__(self, store: Store, feed: ChangeFeed) -> None:
        self._store = store
        self._feed = feed
        self._lock = threading.Lock()
        self._origins_by_client: dict[str, frozenset[str]] = {}
        self._all_origins: frozenset[str] = frozenset()
        self._changed_client_ids: set[str] = set()
        self._read_at = self._last_used_at = float("-inf")
        feed.add_listener(self._on_change)

    def is_registered(self, origin: str, now: float) -> bool:
        """Return whether an enabled browser app has a redirect URI at this origin, such as ``https://app.example.org``.

        :raises StoreUnavailable: if the store cannot be read.
        """
        self._feed.refresh(now)
        is_old = not 0 <= now - self._read_at < _RELOAD_INTERVAL_S or not 0 <= now - self._last_used_at < _MAX_IDLE_S
        if is_old or self._changed_client_ids:
            with self._lock:
                self._read(now, reload_all=is_old)
        self._last_used_at = now
        return origin in self._all_origins

    def _read(self, now: float, *, reload_all: bool) -> None:
        changed, self._changed_client_ids = self._changed_client_ids, set()
        try:
            if reload_all:
                redirect_uris = clients.list_redirect_uris(self._store, BROWSER_POLICY)
                self._origins_by_client = {client_id: origins_of(uris) for client_id, uris in redirect_uris}
                self._read_at = now
            for client_id in () if reload_all else changed:
                client = clients.find(self._store, client_id, now)
                is_enabled = client is not None and client.disabled_at is None and client.policy.name == BROWSER_POLICY
                self._origins_by_client[client_id] = (
                    origins_of(client.redirect_uris) if client and is_enabled else frozenset()
                )
        except BaseException:
            self._changed_client_ids |= changed
            raise
        self._all_origins = frozenset().union(*self._origins_by_client.values())

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind in {"changed", "client"}:
            self._changed_client_ids.add(entry.subject)


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
