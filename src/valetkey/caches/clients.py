"""Clients as a process remembers them: read from the store once, again when the feed says so."""

from __future__ import annotations

import threading

from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.engine.store import Store
from valetkey.storage.revocations import Revocation

from .change_feed import RevocationFeed
from .client_metadata_documents import MetadataDocuments

DOCUMENT_POLICY = "agent"
_REMEMBERED = 10_000
_SECONDS = 60.0  # a secret that expires does so without an entry in the feed


class RegisteredClients:
    """Finds clients; those that describe themselves too, where ``documents`` may be asked.

    :param documents_mode: ``off``, ``approve`` (those of which the operator keeps a row) or ``open``.
    """

    def __init__(self, store: Store, feed: RevocationFeed, documents: MetadataDocuments, documents_mode: str) -> None:
        self._store = store
        self._documents = documents
        self._documents_mode = documents_mode
        self._feed = feed
        self._known: dict[str, tuple[Client, float]] = {}
        self._changes = 0
        self._lock = threading.Lock()
        feed.listen(self._forget)

    def find(self, client_id: str, now: float) -> Client | None:
        """The client, unless it is unknown or disabled.

        :raises StoreUnavailable: where the store cannot be read.
        :raises TemporarilyUnavailable: where it describes itself, and too many wait for such documents.
        """
        row = self._find_row(client_id, now)
        return self._documents.find(client_id, now) if self._is_by_document(row, client_id) else _registered(row)

    def find_at_hand(self, client_id: str, now: float) -> Client | None:
        """The same, without asking anybody for a document: one that describes itself as it was last known here."""
        row = self._find_row(client_id, now)
        return self._documents.at_hand(client_id) if self._is_by_document(row, client_id) else _registered(row)

    def describes_itself(self, client_id: str, now: float) -> bool:
        """Whether a document of the client's says who it is, and may be asked for."""
        return self._is_by_document(self._find_row(client_id, now), client_id)

    def _is_by_document(self, row: Client | None, client_id: str) -> bool:
        if row is None:
            may_ask = self._documents_mode == "open"
        else:
            may_ask = _says_no_more(row) and row.disabled_at is None and self._documents_mode != "off"
        return may_ask and self._documents.is_named_by(client_id)

    def _find_row(self, client_id: str, now: float) -> Client | None:
        self._feed.refresh(now)
        found = self._known.get(client_id)
        if found is None or not 0 <= now - found[1] < _SECONDS:
            changes = self._changes
            client = clients.find(self._store, client_id, now)
            if client is None:
                return None
            found = (client, now)
            with self._lock:
                if changes == self._changes:  # else it changed while we read: do not remember what may be old
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[client_id] = found
        return found[0]

    def _forget(self, entry: Revocation) -> None:
        if entry.kind in {"changed", "client"}:
            with self._lock:
                self._changes += 1
                self._known.pop(entry.subject, None)


def _registered(row: Client | None) -> Client | None:
    return None if row is None or row.disabled_at is not None or _says_no_more(row) else row


def _says_no_more(client: Client) -> bool:
    """Whether the row says no more than that the operator knows of the client."""
    return client.policy.name == DOCUMENT_POLICY and "redirect_uris" not in client.metadata
