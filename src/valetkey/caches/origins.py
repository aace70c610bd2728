"""The origins of registered browser apps: read from the store once, and each client again when the feed names it."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from valetkey.storage import clients
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed

BROWSER_POLICY = "browser"
_MAX_IDLE_S, _RELOAD_INTERVAL_S = 60.0, 600.0  # seconds; entries of the feed are forgotten after some minutes
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OriginCache:
    """Where browser apps are, by the redirect URIs that they registered."""

    def __init__(self, store: Store, feed: ChangeFeed) -> None:
        self._store = store
        self._feed = feed
        self._lock = threading.Lock()
        self._origins_by_client: dict[str, frozenset[str]] = {}  # by client
        self._all_origins: frozenset[str] = frozenset()
        self._changed_client_ids: set[str] = set()
        self._read_at = self._last_used_at = float("-inf")
        feed.add_listener(self._on_change)

    def is_registered(self, origin: str, now: float) -> bool:
        """Whether a registered browser app is at this origin.

        :raises StoreUnavailable: where the store cannot be read.
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
                found = clients.list_redirect_uris(self._store, BROWSER_POLICY)
                self._origins_by_client = {client_id: origins_of(uris) for client_id, uris in found}
                self._read_at = now
            for client_id in () if reload_all else changed:
                client = clients.find(self._store, client_id, now)
                is_one = client is not None and client.disabled_at is None and client.policy.name == BROWSER_POLICY
                self._origins_by_client[client_id] = (
                    origins_of(client.redirect_uris) if client and is_one else frozenset()
                )
        except BaseException:
            self._changed_client_ids |= changed
            raise
        self._all_origins = frozenset().union(*self._origins_by_client.values())

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind in {"changed", "client"}:
            self._changed_client_ids.add(entry.subject)


def origins_of(uris: tuple[str, ...]) -> frozenset[str]:
    """The origins of http and https URLs, as browsers write them (RFC 6454 §6.2)."""
    parts = [urlsplit(uri) for uri in uris]
    return frozenset(
        f"{one.scheme}://{_format_host(one.hostname)}"
        + ("" if one.port in {None, _DEFAULT_PORTS[one.scheme]} else f":{one.port}")
        for one in parts
        if one.scheme in _DEFAULT_PORTS and one.hostname
    )


def _format_host(hostname: str) -> str:
    return f"[{hostname}]" if ":" in hostname else hostname
