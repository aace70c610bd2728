"""Asking an issuer about a token (RFC 7662): one question however many wait for the answer, and a short memory."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote_plus

from valetkey.outbound.errors import FetchError, FetchFailed
from valetkey.outbound.http import Fetcher
from valetkey.protocol.request_body import parse_json_object

from .config import IntrospectionClient, TrustedIssuer
from .discovery import Discovery
from .errors import IssuerUnavailable

_BACKOFF_S = 2.0  # seconds after a failure in which the issuer is not asked again

Claims = Mapping[str, Any]


class Introspector:
    """Asks issuers. Answers are not kept here; failures are, for a moment, so that an outage costs no threads."""

    def __init__(self, fetcher: Fetcher, discovery: Discovery) -> None:
        self._fetcher = fetcher
        self._discovery = discovery
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[Claims | None]] = {}
        self._unavailable_until: dict[str, float] = {}

    def introspect(self, value: str, digest: bytes, issuer: TrustedIssuer, now: float) -> Claims | None:
        """What the issuer says of a token; None where it is not active.

        :raises IssuerUnavailable: where there is no answer.
        """
        if now < self._unavailable_until.get(issuer.issuer, 0.0):
            raise IssuerUnavailable(f"the introspection of {issuer.issuer} does not answer")
        with self._lock:
            answer = self._pending.get(digest)
            is_ours = answer is None
            if answer is None:
                answer = self._pending[digest] = Future()
        if is_ours:
            try:
                answer.set_result(self._send_request(value, issuer))
            except BaseException as problem:
                answer.set_exception(problem)
            finally:
                del self._pending[digest]
        try:
            return answer.result()
        except FetchError as cause:
            self._unavailable_until[issuer.issuer] = now + _BACKOFF_S
            raise IssuerUnavailable(f"the introspection of {issuer.issuer} does not answer: {cause}") from cause

    def _send_request(self, value: str, issuer: TrustedIssuer) -> Claims | None:
        client = issuer.introspection
        assert client is not None
        url = client.endpoint or self._discovery.find_url(issuer.issuer, "introspection_endpoint")
        form = {"token": value, "token_type_hint": "access_token"}
        if client.method == "client_secret_post":
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        fetched = self._fetcher.post_form(
            url, form, accept="application/json", authorization=_authorization_header(client)
        )
        if fetched.status != 200:
            raise FetchFailed(f"it answered {fetched.status}")
        try:
            members = parse_json_object(fetched.body)
        except ValueError as cause:
            raise FetchFailed("it did not answer with a JSON object") from cause
        return members if members.get("active") is True else None


def _authorization_header(client: IntrospectionClient) -> str | None:
    """RFC 6749 §2.3.1: both are form-encoded first."""
    if client.method != "client_secret_basic":
        return None
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
