"""Clients that describe themselves: the client_id is the URL of their metadata.

OAuth Client ID Metadata Document, draft-ietf-oauth-client-id-metadata-document-03.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from valetkey.outbound.errors import FetchError, FetchFailed
from valetkey.outbound.http import Fetcher, FetchResponse
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.protocol.errors import OAuthError, TemporarilyUnavailable
from valetkey.protocol.request_body import parse_json_object
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import is_metadata_document_url
from valetkey.storage.clients import Client, make_client

_MAX_BYTES = 5120  # what the draft recommends (§6.6)
_MAX_ENTRIES = 1000
_MIN_TTL_S, _MAX_TTL_S = 60, 86_400
_STALE_IF_ERROR_S = 3600  # seconds that a document serves on while its host is out of order
_FORBIDDEN_MEMBERS = frozenset({"client_secret", "client_secret_expires_at"})  # §4.1: nothing there could be secret
_IGNORED_MEMBERS = frozenset({"sector_identifier_uri", "subject_type"})
_log = logging.getLogger("valetkey")


class _UnusableDocument(FetchFailed):
    """There is no such client any more, whatever is remembered."""


@dataclass(slots=True)
class _CachedDocument:
    client: Client | None = None
    fetched_at: float = float("-inf")
    fresh_until: float = float("-inf")
    attempts: int = 0
    fetch_lock: threading.Lock = field(default_factory=threading.Lock)

    def usable_client(self, now: float) -> Client | None:
        """What is known, where it will do while nothing newer can be had."""
        return self.client if now <= self.fetched_at + _STALE_IF_ERROR_S else None


class ClientMetadataDocumentCache:
    """Fetches what clients say of themselves, and keeps it as HTTP allows: a minute at least, a day at most.

    :param scopes: the scopes of this server; others in a document are passed over.
    :param may_fetch: whether one more fetch from this host is within its limit.
    :param waiting: what is entered while somebody may have to wait for one.
    :param on_loopback: whether http on loopback will do, for trying things out.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        scopes: Set[str],
        may_fetch: Callable[[str, float], bool],
        fetch_slot: Callable[[], AbstractContextManager[object]],
        *,
        allow_http_loopback: bool,
    ) -> None:
        self._fetcher = fetcher
        self._fetch_slot = fetch_slot
        self._scopes = scopes
        self._may_fetch = may_fetch
        self._allow_http_loopback = allow_http_loopback
        self._entries: OrderedDict[str, _CachedDocument] = OrderedDict()
        self._lock = threading.Lock()

    def is_document_url(self, client_id: str) -> bool:
        """Whether a client_id is the URL of a document."""
        return is_metadata_document_url(client_id, allow_http_loopback=self._allow_http_loopback)

    def find(self, client_id: str, now: float) -> Client | None:
        """The client that is described there; None where nothing usable is.

        :raises TemporarilyUnavailable: where too many wait for such documents, and none from before is recent enough.
        """
        kept = self._get_or_add_entry(client_id)
        if now < kept.fresh_until:
            return kept.client
        if kept.fetch_lock.locked() and (recent := kept.usable_client(now)):
            return recent
        try:
            return self._fetch_or_wait(client_id, kept, now)
        except TemporarilyUnavailable:
            if recent := kept.usable_client(now):
                return recent
            raise

    def find_cached(self, client_id: str) -> Client | None:
        """The client as it was last known here; nothing is fetched."""
        kept = self._entries.get(client_id)
        return kept.client if kept else None

    def find_cached_name(self, client_id: str) -> str | None:
        """By which name the client was last known here; nothing is fetched."""
        client = self.find_cached(client_id)
        return client.name if client else None

    def _get_or_add_entry(self, client_id: str) -> _CachedDocument:
        with self._lock:
            kept = self._entries.setdefault(client_id, _CachedDocument())
            self._entries.move_to_end(client_id)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
            return kept

    def _fetch_or_wait(self, client_id: str, entry: _CachedDocument, now: float) -> Client | None:
        """Whoever waited for somebody else's fetch takes what came of it, a failure too: one slow site is one wait."""
        attempts = entry.attempts
        with self._fetch_slot(), entry.fetch_lock:
            if now >= entry.fresh_until and attempts == entry.attempts:
                self._refresh(client_id, entry, now)
                entry.attempts += 1
            return entry.client

    def _refresh(self, client_id: str, entry: _CachedDocument, now: float) -> None:
        try:
            fetched = self._fetch(client_id, now)
            client = self._parse_document(client_id, fetched, now)
        except FetchError as problem:
            _log.info("no client at %s: %s", urlsplit(client_id).hostname, problem)
            if isinstance(problem, _UnusableDocument) or entry.usable_client(now) is None:
                entry.client = None  # and the next request asks again: errors are not kept (§5.2)
            else:
                entry.fresh_until = now + _MIN_TTL_S
            return
        entry.client, entry.fetched_at = client, now
        entry.fresh_until = now + min(max(fetched.max_age, _MIN_TTL_S), _MAX_TTL_S)

    def _fetch(self, client_id: str, now: float) -> FetchResponse:
        host = urlsplit(client_id).hostname or ""
        if not self._may_fetch(host, now):
            raise FetchFailed(f"too many documents are fetched from {host}")
        fetched = self._fetcher.get(client_id, max_bytes=_MAX_BYTES)  # a redirect is no answer (§5)
        if fetched.status >= 500:
            raise FetchFailed(f"{host} answered {fetched.status}")
        if fetched.status != 200:
            raise _UnusableDocument(f"{host} answered {fetched.status}")
        kind = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise _UnusableDocument(f"{host} did not answer with application/json")
        return fetched

    def _parse_document(self, client_id: str, fetched: FetchResponse, now: float) -> Client:
        try:
            sent = parse_json_object(fetched.body)
            if sent.get("client_id") != client_id:  # §4.1, by simple string comparison
                raise _UnusableDocument("the document is not about this client_id")
            if _FORBIDDEN_MEMBERS & sent.keys():
                raise _UnusableDocument("the document has a secret in it")
            told = {name: value for name, value in sent.items() if name not in _IGNORED_MEMBERS}
            policy, metadata = parse_client_metadata(told, CLIENT_POLICIES["agent"])
            known = parse_scope(metadata.pop("scope", None)) & self._scopes
        except (OAuthError, ValueError) as cause:
            raise _UnusableDocument(f"the document cannot be used: {cause}") from cause
        if known:
            metadata["scope"] = format_scope(known)
        return make_client(client_id, policy, metadata, now)
