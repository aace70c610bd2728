"""Cache of OAuth clients. A client is read from the database once, and again after its row has changed."""

from __future__ import annotations

from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .client_metadata_documents import ClientMetadataDocumentCache
from .feed_cache import FeedCache, changed_client

DOCUMENT_POLICY = "agent"  # policy of clients that have a metadata document
_MAX_ENTRIES = 10_000
_TTL_S = 60.0  # the expiry of a client secret makes no entry in the feed


class ClientCache:
    """Finds OAuth clients: registered ones, and those that a client metadata document describes.

    :param documents: cache of the client metadata documents.
    :param documents_mode: which metadata documents are accepted (setting ``metadata_documents``): ``off`` for none,
        ``approve`` for those whose client the operator has added to the database, ``open`` for all.
    """

    def __init__(
        self, store: Store, feed: ChangeFeed, documents: ClientMetadataDocumentCache, documents_mode: str
    ) -> None:
        self._store = store
        self._documents = documents
        self._documents_mode = documents_mode
        self._rows: FeedCache[str, Client] = FeedCache(
            feed, self._read_row, changed_client, max_entries=_MAX_ENTRIES, ttl_s=_TTL_S
        )

    def find(self, client_id: str, now: float) -> Client | None:
        """Return the client, or ``None`` if it is unknown or disabled. Its metadata document is fetched if needed.

        :raises StoreUnavailable: if the store cannot be read.
        :raises TooManyFetches: if the client has a metadata document, and too many requests wait for documents.
        """
        row = self._rows.get(client_id, now)
        return (
            self._documents.find(client_id, now)
            if self._is_document_client(row, client_id)
            else _registered_or_none(row)
        )

    def find_cached(self, client_id: str, now: float) -> Client | None:
        """Return the client, or ``None`` if it is unknown or disabled, without fetching a metadata document.

        A client that has a metadata document is returned from the cached document, however old.

        :raises StoreUnavailable: if the store cannot be read.
        """
        row = self._rows.get(client_id, now)
        return (
            self._documents.find_cached(client_id)
            if self._is_document_client(row, client_id)
            else _registered_or_none(row)
        )

    def uses_metadata_document(self, client_id: str, now: float) -> bool:
        """Return whether the client is one that a metadata document describes, and this server accepts such documents.

        :raises StoreUnavailable: if the store cannot be read.
        """
        return self._is_document_client(self._rows.get(client_id, now), client_id)

    def _is_document_client(self, row: Client | None, client_id: str) -> bool:
        if row is None:
            is_accepted = self._documents_mode == "open"
        else:
            is_accepted = _has_no_metadata(row) and row.disabled_at is None and self._documents_mode != "off"
        return is_accepted and self._documents.is_document_url(client_id)

    def _read_row(self, client_id: str, now: float) -> Client | None:
        return clients.find(self._store, client_id, now)


def _registered_or_none(row: Client | None) -> Client | None:
    return None if row is None or row.disabled_at is not None or _has_no_metadata(row) else row


def _has_no_metadata(client: Client) -> bool:
    """Return whether the client's row has no metadata: it only approves a client that has a metadata document."""
    return client.policy.name == DOCUMENT_POLICY and "redirect_uris" not in client.metadata
