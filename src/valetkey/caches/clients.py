"""Clients as a process remembers them: read from the store once, again when the feed says so."""

from __future__ import annotations

import threading

from valetkey.storage import clients
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.clients import Client
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .client_metadata_documents import ClientMetadataDocumentCache

DOCUMENT_POLICY = "agent"
_MAX_ENTRIES = 10_000
_TTL_S = 60.0  # a secret that expires does so without an entry in the feed


class ClientCache:
    """Finds clients; those that describe themselves too, where ``documents`` may be asked.

    :param documents_mode: ``off``, ``approve`` (those of which the operator keeps a row) or ``open``.
    """

    def __init__(
        self, store: Store, feed: ChangeFeed, documents: ClientMetadataDocumentCache, documents_mode: str
    ) -> None:
        self._store = store
        self._documents = documents
        self._documents_mode = documents_mode
        self._feed = feed
        self._entries: dict[str, tuple[Client, float]] = {}
        self._generation = 0
        self._lock = threading.Lock()
        feed.add_listener(self._on_change)

    def find(self, client_id: str, now: float) -> Client | None:
        """The client, unless it is unknown or disabled.

        :raises StoreUnavailable: where the store cannot be read.
        :raises TemporarilyUnavailable: where it describes itself, and too many wait for such documents.
        """
        row = self._find_row(client_id, now)
        return (
            self._documents.find(client_id, now)
            if self._is_document_client(row, client_id)
            else _registered_or_none(row)
        )

    def find_cached(self, client_id: str, now: float) -> Client | None:
        """The same, without asking anybody for a document: one that describes itself as it was last known here."""
        row = self._find_row(client_id, now)
        return (
            self._documents.find_cached(client_id)
            if self._is_document_client(row, client_id)
            else _registered_or_none(row)
        )

    def uses_metadata_document(self, client_id: str, now: float) -> bool:
        """Whether a document of the client's says who it is, and may be asked for."""
        return self._is_document_client(self._find_row(client_id, now), client_id)

    def _is_document_client(self, row: Client | None, client_id: str) -> bool:
        if row is None:
            may_ask = self._documents_mode == "open"
        else:
            may_ask = _has_no_metadata(row) and row.disabled_at is None and self._documents_mode != "off"
        return may_ask and self._documents.is_document_url(client_id)

    def _find_row(self, client_id: str, now: float) -> Client | None:
        self._feed.refresh(now)
        found = self._entries.get(client_id)
        if found is None or not 0 <= now - found[1] < _TTL_S:
            changes = self._generation
            client = clients.find(self._store, client_id, now)
            if client is None:
                return None
            found = (client, now)
            with self._lock:
                if changes == self._generation:  # else it changed while we read: do not remember what may be old
                    if len(self._entries) >= _MAX_ENTRIES:
                        self._entries.clear()
                    self._entries[client_id] = found
        return found[0]

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind in {"changed", "client"}:
            with self._lock:
                self._generation += 1
                self._entries.pop(entry.subject, None)


def _registered_or_none(row: Client | None) -> Client | None:
    return None if row is None or row.disabled_at is not None or _has_no_metadata(row) else row


def _has_no_metadata(client: Client) -> bool:
    """Whether the row says no more than that the operator knows of the client."""
    return client.policy.name == DOCUMENT_POLICY and "redirect_uris" not in client.metadata
