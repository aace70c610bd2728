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

from valetkey.outbound.bounds import FetchFailed, FetchProblem
from valetkey.outbound.http import Fetched, Fetcher
from valetkey.protocol.client_metadata import read_client_metadata
from valetkey.protocol.errors import OAuthError, TemporarilyUnavailable
from valetkey.protocol.policy import POLICIES
from valetkey.protocol.request_body import read_json_object
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import is_document_url
from valetkey.storage.clients import Client, make_client

_LARGEST = 5120  # what the draft recommends (§6.6)
_REMEMBERED = 1000
_LEAST_AGE, _LONGEST_AGE = 60, 86_400
_STALE = 3600  # seconds that a document serves on while its host is out of order
_NEVER_SENT = frozenset({"client_secret", "client_secret_expires_at"})  # §4.1: nothing there could be secret
_NOT_READ = frozenset({"sector_identifier_uri", "subject_type"})
_log = logging.getLogger("valetkey")


class _Gone(FetchFailed):
    """There is no such client any more, whatever is remembered."""


@dataclass(slots=True)
class _Kept:
    client: Client | None = None
    fetched_at: float = float("-inf")
    fresh_until: float = float("-inf")
    attempts: int = 0
    fetching: threading.Lock = field(default_factory=threading.Lock)

    def recent(self, now: float) -> Client | None:
        """What is known, where it will do while nothing newer can be had."""
        return self.client if now <= self.fetched_at + _STALE else None


class MetadataDocuments:
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
        waiting: Callable[[], AbstractContextManager[object]],
        *,
        on_loopback: bool,
    ) -> None:
        self._fetcher = fetcher
        self._waiting = waiting
        self._scopes = scopes
        self._may_fetch = may_fetch
        self._on_loopback = on_loopback
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._guarding = threading.Lock()

    def is_named_by(self, client_id: str) -> bool:
        """Whether a client_id is the URL of a document."""
        return is_document_url(client_id, on_loopback=self._on_loopback)

    def find(self, client_id: str, now: float) -> Client | None:
        """The client that is described there; None where nothing usable is.

        :raises TemporarilyUnavailable: where too many wait for such documents, and none from before is recent enough.
        """
        kept = self._keep(client_id)
        if now < kept.fresh_until:
            return kept.client
        if kept.fetching.locked() and (recent := kept.recent(now)):
            return recent
        try:
            return self._fetched(client_id, kept, now)
        except TemporarilyUnavailable:
            if recent := kept.recent(now):
                return recent
            raise

    def at_hand(self, client_id: str) -> Client | None:
        """The client as it was last known here; nothing is fetched."""
        kept = self._kept.get(client_id)
        return kept.client if kept else None

    def name(self, client_id: str) -> str | None:
        """By which name the client was last known here; nothing is fetched."""
        client = self.at_hand(client_id)
        return client.name if client else None

    def _keep(self, client_id: str) -> _Kept:
        with self._guarding:
            kept = self._kept.setdefault(client_id, _Kept())
            self._kept.move_to_end(client_id)
            if len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
            return kept

    def _fetched(self, client_id: str, kept: _Kept, now: float) -> Client | None:
        """Whoever waited for somebody else's fetch takes what came of it, a failure too: one slow site is one wait."""
        attempts = kept.attempts
        with self._waiting(), kept.fetching:
            if now >= kept.fresh_until and attempts == kept.attempts:
                self._refresh(client_id, kept, now)
                kept.attempts += 1
            return kept.client

    def _refresh(self, client_id: str, kept: _Kept, now: float) -> None:
        try:
            fetched = self._fetch(client_id, now)
            client = self._read(client_id, fetched, now)
        except FetchProblem as problem:
            _log.info("no client at %s: %s", urlsplit(client_id).hostname, problem)
            if isinstance(problem, _Gone) or kept.recent(now) is None:
                kept.client = None  # and the next request asks again: errors are not kept (§5.2)
            else:
                kept.fresh_until = now + _LEAST_AGE
            return
        kept.client, kept.fetched_at = client, now
        kept.fresh_until = now + min(max(fetched.max_age, _LEAST_AGE), _LONGEST_AGE)

    def _fetch(self, client_id: str, now: float) -> Fetched:
        host = urlsplit(client_id).hostname or ""
        if not self._may_fetch(host, now):
            raise FetchFailed(f"too many documents are fetched from {host}")
        fetched = self._fetcher.get(client_id, max_bytes=_LARGEST)  # a redirect is no answer (§5)
        if fetched.status >= 500:
            raise FetchFailed(f"{host} answered {fetched.status}")
        if fetched.status != 200:
            raise _Gone(f"{host} answered {fetched.status}")
        kind = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise _Gone(f"{host} did not answer with application/json")
        return fetched

    def _read(self, client_id: str, fetched: Fetched, now: float) -> Client:
        try:
            sent = read_json_object(fetched.body)
            if sent.get("client_id") != client_id:  # §4.1, by simple string comparison
                raise _Gone("the document is not about this client_id")
            if _NEVER_SENT & sent.keys():
                raise _Gone("the document has a secret in it")
            told = {name: value for name, value in sent.items() if name not in _NOT_READ}
            policy, metadata = read_client_metadata(told, POLICIES["agent"])
            known = parse_scope(metadata.pop("scope", None)) & self._scopes
        except (OAuthError, ValueError) as cause:
            raise _Gone(f"the document cannot be used: {cause}") from cause
        if known:
            metadata["scope"] = format_scope(known)
        return make_client(client_id, policy, metadata, now)
