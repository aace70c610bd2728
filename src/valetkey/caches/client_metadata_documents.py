"""Cache of client metadata documents: JSON documents in which clients describe themselves, with the URL as client_id.

See OAuth Client ID Metadata Document, draft-ietf-oauth-client-id-metadata-document-03. Section numbers in this file are
those of the draft.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from valetkey.outbound.errors import FetchError, FetchFailed, TooManyFetches
from valetkey.outbound.http import Fetcher, FetchResponse
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.request_body import parse_json_object
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import is_metadata_document_url
from valetkey.storage.clients import Client, make_client

_MAX_BYTES = 5120  # recommended in §6.6
_MAX_ENTRIES = 1000
_MIN_TTL_S, _MAX_TTL_S = 60, 86_400
_STALE_IF_ERROR_S = 3600  # how long after its fetch a document is used if its host fails
_FORBIDDEN_MEMBERS = frozenset({"client_secret", "client_secret_expires_at"})  # §4.1: a document is public
_IGNORED_MEMBERS = frozenset({"sector_identifier_uri", "subject_type"})
_log = logging.getLogger("valetkey")


class _UnusableDocument(FetchFailed):
    """A client_id URL has no valid metadata document (any more): the client does not exist, even if it is cached."""


@dataclass(slots=True)
class _CachedDocument:
    client: Client | None = None
    fetched_at: float = float("-inf")
    fresh_until: float = float("-inf")
    attempts: int = 0
    fetch_lock: threading.Lock = field(default_factory=threading.Lock)

    def is_fresh(self, now: float) -> bool:
        """Return whether the document need not be fetched; false if the clock was set back since it was fetched.

        A difference of less than a minute does not count: ``now`` is when a request began, and the document may have
        been fetched for one that began later.
        """
        return self.fetched_at - _MIN_TTL_S < now < self.fresh_until

    def usable_client(self, now: float) -> Client | None:
        """Return the client if its document was fetched within the last hour, else ``None``.

        Such a client may be used while its document cannot be fetched.
        """
        return self.client if now <= self.fetched_at + _STALE_IF_ERROR_S else None


class ClientMetadataDocumentCache:
    """Fetches client metadata documents and caches them as long as HTTP allows: at least a minute, at most a day.

    :param fetcher: HTTP client that fetches the documents.
    :param scopes: the scopes of this server; other scopes in a document are ignored.
    :param may_fetch: called with a host and the current time; returns whether one more fetch from the host is within
        the host's rate limit.
    :param fetch_slot: returns the context manager for a URL that is entered while a request may wait for a document; it
        raises ``TooManyFetches`` if too many requests wait.
    :param allow_http_loopback: accept http URLs on loopback, for development.
    :param private_use_schemes: schemes without a dot that redirect URIs in a document may have.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        scopes: Set[str],
        may_fetch: Callable[[str, float], bool],
        fetch_slot: Callable[[str], AbstractContextManager[object]],
        *,
        allow_http_loopback: bool,
        private_use_schemes: Collection[str] = (),
    ) -> None:
        self._fetcher = fetcher
        self._fetch_slot = fetch_slot
        self._scopes = scopes
        self._private_use_schemes = private_use_schemes
        self._may_fetch = may_fetch
        self._allow_http_loopback = allow_http_loopback
        self._entries: OrderedDict[str, _CachedDocument] = OrderedDict()
        self._lock = threading.Lock()

    def is_document_url(self, client_id: str) -> bool:
        """Return whether a client_id has the form of a metadata document's URL. Fetches nothing."""
        return is_metadata_document_url(client_id, allow_http_loopback=self._allow_http_loopback)

    def find(self, client_id: str, now: float) -> Client | None:
        """Return the client that the document at this URL describes, or ``None`` if there is no usable document.

        While the document cannot be fetched, or another request is fetching it, the client from a fetch within the last
        hour is returned.

        :raises TooManyFetches: if too many requests wait for documents, and no recent client is cached.
        """
        entry = self._get_or_add_entry(client_id)
        if entry.is_fresh(now):
            return entry.client
        if entry.fetch_lock.locked() and (client := entry.usable_client(now)):
            return client
        try:
            return self._fetch_or_wait(client_id, entry, now)
        except TooManyFetches:
            if client := entry.usable_client(now):
                return client
            raise

    def find_cached(self, client_id: str) -> Client | None:
        """Return the cached client, however old, or ``None`` if it is not cached. Fetches nothing."""
        entry = self._entries.get(client_id)
        return entry.client if entry else None

    def find_cached_name(self, client_id: str) -> str | None:
        """Return the cached client's display name, however old, or ``None`` if it is not cached. Fetches nothing."""
        client = self.find_cached(client_id)
        return client.name if client else None

    def _get_or_add_entry(self, client_id: str) -> _CachedDocument:
        with self._lock:
            entry = self._entries.setdefault(client_id, _CachedDocument())
            self._entries.move_to_end(client_id)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
            return entry

    def _fetch_or_wait(self, client_id: str, entry: _CachedDocument, now: float) -> Client | None:
        """Fetch the metadata document, or wait for the request that is already fetching it; return the client.

        Return ``None`` if the document is not usable. A failed fetch is shared too, so that each request waits for a
        slow host at most once.
        """
        attempts = entry.attempts
        with self._fetch_slot(client_id), entry.fetch_lock:
            if not entry.is_fresh(now) and attempts == entry.attempts:
                self._refresh(client_id, entry, now)
                entry.attempts += 1
            return entry.client

    def _refresh(self, client_id: str, entry: _CachedDocument, now: float) -> None:
        if now < entry.fetched_at:  # the clock was set back
            entry.fetched_at = entry.fresh_until = now
        try:
            fetched = self._fetch(client_id, now)
            client = self._parse_document(client_id, fetched, now)
        except FetchError as error:
            _log.info("client metadata document at %s was not accepted: %s", urlsplit(client_id).hostname, error)
            if isinstance(error, _UnusableDocument) or entry.usable_client(now) is None:
                entry.client = None  # errors are not cached (§5.2): the next request fetches again
            else:
                entry.fresh_until = now + _MIN_TTL_S
            return
        entry.client, entry.fetched_at = client, now
        entry.fresh_until = now + min(max(fetched.max_age, _MIN_TTL_S), _MAX_TTL_S)

    def _fetch(self, client_id: str, now: float) -> FetchResponse:
        host = urlsplit(client_id).hostname or ""
        if not self._may_fetch(host, now):
            raise FetchFailed(f"too many documents were fetched from {host}: try again in a minute")
        fetched = self._fetcher.get(client_id, max_bytes=_MAX_BYTES)  # redirects are not followed (§5)
        if fetched.status >= 500:
            raise FetchFailed(f"{host} responded with status {fetched.status}")
        if fetched.status != 200:
            raise _UnusableDocument(f"{host} responded with status {fetched.status}, not 200")
        media_type = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise _UnusableDocument(f"{host} did not respond with application/json")
        return fetched

    def _parse_document(self, client_id: str, fetched: FetchResponse, now: float) -> Client:
        try:
            members = parse_json_object(fetched.body)
            if members.get("client_id") != client_id:  # §4.1, by simple string comparison
                raise _UnusableDocument("client_id in the document is not the document's URL")
            if _FORBIDDEN_MEMBERS & members.keys():
                raise _UnusableDocument("the document contains a client secret, but is public: remove it")
            submitted = {name: value for name, value in members.items() if name not in _IGNORED_MEMBERS}
            policy, metadata = parse_client_metadata(
                submitted, CLIENT_POLICIES["agent"], private_use_schemes=self._private_use_schemes
            )
            scope = parse_scope(metadata.pop("scope", None)) & self._scopes
        except (OAuthError, ValueError) as cause:
            raise _UnusableDocument(f"the document is not valid: {cause}") from cause
        if scope:
            metadata["scope"] = format_scope(scope)
        return make_client(client_id, policy, metadata, now, registered_itself=True)
