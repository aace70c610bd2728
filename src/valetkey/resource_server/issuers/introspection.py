"""Introspection of tokens at their issuer (RFC 7662). Concurrent calls with the same token share one request."""

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

_BACKOFF_S = 2.0  # how long no request is sent to an issuer after a failure

Claims = Mapping[str, Any]


class Introspector:
    """Sends tokens to the introspection endpoints of their issuers (RFC 7662).

    Responses are not cached here. After a failure, calls for the same issuer fail at once for ``_BACKOFF_S``, so that
    an outage does not make threads wait.
    """

    def __init__(self, fetcher: Fetcher, discovery: Discovery) -> None:
        self._fetcher = fetcher
        self._discovery = discovery
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[Claims | None]] = {}
        self._unavailable_until: dict[str, float] = {}

    def introspect(self, value: str, digest: bytes, issuer: TrustedIssuer, now: float) -> Claims | None:
        """Introspect a token; return the members of the response, or ``None`` if the token is not active.

        :param value: the token as the caller sent it.
        :param digest: digest of the token; concurrent calls with the same digest share one request.
        :param now: seconds since 1970.
        :raises IssuerUnavailable: if the issuer does not respond, or with anything but status 200 and a JSON object.
        """
        if now < self._unavailable_until.get(issuer.issuer, 0.0):
            raise IssuerUnavailable(f"the introspection endpoint of {issuer.issuer} failed a moment ago")
        with self._lock:
            response = self._pending.get(digest)
            is_first = response is None
            if response is None:
                response = self._pending[digest] = Future()
        if is_first:
            try:
                response.set_result(self._send_request(value, issuer))
            except BaseException as error:
                response.set_exception(error)
            finally:
                del self._pending[digest]
        try:
            return response.result()
        except FetchError as cause:
            self._unavailable_until[issuer.issuer] = now + _BACKOFF_S
            raise IssuerUnavailable(f"the introspection endpoint of {issuer.issuer} failed: {cause}") from cause

    def _send_request(self, value: str, issuer: TrustedIssuer) -> Claims | None:
        client = issuer.introspection
        assert client is not None
        url = client.endpoint or self._discovery.find_url(issuer.issuer, "introspection_endpoint")
        form = {"token": value, "token_type_hint": "access_token"}
        if client.method == "client_secret_post":
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        response = self._fetcher.post_form(
            url, form, accept="application/json", authorization=_authorization_header(client)
        )
        if response.status != 200:
            raise FetchFailed(f"the response has status {response.status}")
        try:
            members = parse_json_object(response.body)
        except ValueError as cause:
            raise FetchFailed("the response is not a JSON object") from cause
        return members if members.get("active") is True else None


def _authorization_header(client: IntrospectionClient) -> str | None:
    """Return the value of the Authorization header with the API's credentials, form-encoded first (RFC 6749 §2.3.1).

    Returns ``None`` unless the method is ``client_secret_basic``.
    """
    if client.method != "client_secret_basic":
        return None
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
