"""Clients as a process remembers them: read from the store once, again when the feed says so."""

from __future__ import annotations

from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.revocations import Revocation
from valetkey.storage.store import Store

from .feed import RevocationFeed
from .metadata_documents import MetadataDocuments

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
        feed.listen(self._forget)

    def find(self, client_id: str, now: float) -> Client | None:
        """The client, unless it is unknown or disabled.

        :raises StoreUnavailable: where the store cannot be read.
        """
        client = self._find_row(client_id, now)
        if client is not None and (client.disabled_at is not None or not _describes_itself(client)):
            return None if client.disabled_at is not None else client
        may_ask = self._documents_mode == "open" or (client is not None and self._documents_mode == "approve")
        if not may_ask or not self._documents.is_named_by(client_id):
            return None
        return self._documents.find(client_id, now)

    def _find_row(self, client_id: str, now: float) -> Client | None:
        self._feed.refresh(now)
        found = self._known.get(client_id)
        if found is None or not 0 <= now - found[1] < _SECONDS:
            changes = self._changes
            client = clients.find(self._store, client_id, now)
            if client is None:
                return None
            found = (client, now)
            if changes != self._changes:  # it changed while we read: do not remember what may be old
                return client
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[client_id] = found
        return found[0]

    def _forget(self, entry: Revocation) -> None:
        if entry.kind in {"changed", "client"}:
            self._changes += 1
            self._known.pop(entry.subject, None)


def _describes_itself(client: Client) -> bool:
    """Whether the row says no more than that the operator knows of the client."""
    return client.policy.name == DOCUMENT_POLICY and "redirect_uris" not in client.metadata
