"""The origins of registered browser apps: read from the store once, and each client again when the feed names it."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from valetkey.storage import clients
from valetkey.storage.engine.store import Store
from valetkey.storage.revocations import Revocation

from .change_feed import RevocationFeed

POLICY = "browser"
_IDLE, _RELOAD = 60.0, 600.0  # seconds; entries of the feed are forgotten after some minutes
_PORTS = {"http": 80, "https": 443}


class RegisteredOrigins:
    """Where browser apps are, by the redirect URIs that they registered."""

    def __init__(self, store: Store, feed: RevocationFeed) -> None:
        self._store = store
        self._feed = feed
        self._lock = threading.Lock()
        self._of: dict[str, frozenset[str]] = {}  # by client
        self._all: frozenset[str] = frozenset()
        self._changed: set[str] = set()
        self._read_at = self._asked_at = float("-inf")
        feed.listen(self._note)

    def has(self, origin: str, now: float) -> bool:
        """Whether a registered browser app is at this origin.

        :raises StoreUnavailable: where the store cannot be read.
        """
        self._feed.refresh(now)
        is_old = not 0 <= now - self._read_at < _RELOAD or not 0 <= now - self._asked_at < _IDLE
        if is_old or self._changed:
            with self._lock:
                self._read(now, whole=is_old)
        self._asked_at = now
        return origin in self._all

    def _read(self, now: float, *, whole: bool) -> None:
        changed, self._changed = self._changed, set()
        try:
            if whole:
                found = clients.redirect_uris(self._store, POLICY)
                self._of = {client_id: origins_of(uris) for client_id, uris in found}
                self._read_at = now
            for client_id in () if whole else changed:
                client = clients.find(self._store, client_id, now)
                is_one = client is not None and client.disabled_at is None and client.policy.name == POLICY
                self._of[client_id] = origins_of(client.redirect_uris) if client and is_one else frozenset()
        except BaseException:
            self._changed |= changed
            raise
        self._all = frozenset().union(*self._of.values())

    def _note(self, entry: Revocation) -> None:
        if entry.kind in {"changed", "client"}:
            self._changed.add(entry.subject)


def origins_of(uris: tuple[str, ...]) -> frozenset[str]:
    """The origins of http and https URLs, as browsers write them (RFC 6454 §6.2)."""
    parts = [urlsplit(uri) for uri in uris]
    return frozenset(
        f"{one.scheme}://{_host(one.hostname)}" + ("" if one.port in {None, _PORTS[one.scheme]} else f":{one.port}")
        for one in parts
        if one.scheme in _PORTS and one.hostname
    )


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name
