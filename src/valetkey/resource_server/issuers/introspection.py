"""Introspection of tokens at their issuer (RFC 7662). Concurrent calls with the same token share one request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError, FetchFailed, UnusableResponse
from valetkey.outbound.http import Fetcher
from valetkey.protocol.basic import format_basic
from valetkey.protocol.request_body import parse_json_object
from valetkey.storage.engine.circuit_breaker import CircuitBreaker

from .config import IntrospectionClient, TrustedIssuer
from .errors import IssuerUnavailable

_RESET_TIMEOUT_S = 2.0  # after a failure, one request is sent to an issuer in this time
# Besides 5xx. Other errors may be due to the token, and one caller must not stop the introspection of all tokens.
_STATUSES_OF_FAILURES = frozenset({401, 403, 429})

Claims = Mapping[str, Any]


class Introspector:
    """Sends tokens to the introspection endpoints of their issuers (RFC 7662).

    Responses are not cached here. Each issuer has a circuit breaker: during an outage, one call in 2 seconds waits
    for the issuer, and the others fail at once. It opens if there is no response, or one with status 5xx, 401, 403 or
    429.

    :param fetch_slot: returns a context manager for a URL that is entered while a call may have to wait for its host;
        it raises ``TooManyFetches`` if too many calls wait.
    """

    def __init__(
        self, fetcher: Fetcher, discovery: Discovery, fetch_slot: Callable[[str], AbstractContextManager[object]]
    ) -> None:
        self._fetcher = fetcher
        self._discovery = discovery
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[Claims | None]] = {}
        self._fetch_slot = fetch_slot
        self._breakers: dict[str, CircuitBreaker] = {}

    def introspect(self, value: str, digest: bytes, issuer: TrustedIssuer) -> Claims | None:
        """Introspect a token; return the members of the response, or ``None`` if the token is not active.

        :param value: the token as the caller sent it.
        :param digest: digest of the token; concurrent calls with the same digest share one request.
        :raises IssuerUnavailable: if the issuer does not respond, or with anything but status 200 and a JSON object.
        :raises TooManyFetches: if too many calls wait already for introspection.
        """
        with self._fetch_slot(issuer.issuer):
            return self._introspect(value, digest, issuer)

    def _introspect(self, value: str, digest: bytes, issuer: TrustedIssuer) -> Claims | None:
        with self._lock:
            response = self._pending.get(digest)
            is_first = response is None
            if response is None:
                response = self._pending[digest] = Future()
        if is_first:
            try:
                response.set_result(self._send_unless_open(value, issuer))
            except BaseException as error:
                response.set_exception(error)
            finally:
                del self._pending[digest]
        try:
            return response.result()
        except FetchError as cause:
            raise IssuerUnavailable(f"the introspection endpoint of {issuer.issuer} failed: {cause}") from cause

    def _send_unless_open(self, value: str, issuer: TrustedIssuer) -> Claims | None:
        breaker = self._breakers.setdefault(
            issuer.issuer,
            CircuitBreaker(
                f"the introspection endpoint of {issuer.issuer}",
                monotonic,
                error=IssuerUnavailable,
                reset_timeout_s=_RESET_TIMEOUT_S,
            ),
        )
        breaker.check()
        try:
            claims = self._send_request(value, issuer)
        except UnusableResponse:
            breaker.reset()
            raise
        except FetchError:
            breaker.trip()
            raise
        breaker.reset()
        return claims

    def _send_request(self, value: str, issuer: TrustedIssuer) -> Claims | None:
        client = issuer.introspection
        assert client is not None
        if client.endpoint:
            return self._send_request_to(client.endpoint, value, client)
        url = self._discovery.find_url(issuer.issuer, "introspection_endpoint")
        try:
            return self._send_request_to(url, value, client)
        except FetchError:
            newer_url = self._discovery.find_newer_url(issuer.issuer, "introspection_endpoint", url)
            if newer_url is None:
                raise
            return self._send_request_to(newer_url, value, client)

    def _send_request_to(self, url: str, value: str, client: IntrospectionClient) -> Claims | None:
        form = {"token": value, "token_type_hint": "access_token"}
        if client.method == "client_secret_post":
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        is_basic = client.method == "client_secret_basic"
        authorization = format_basic(client.client_id, client.client_secret) if is_basic else None
        response = self._fetcher.post_form(url, form, accept="application/json", authorization=authorization)
        if response.status != 200:
            is_failure = response.status >= 500 or response.status in _STATUSES_OF_FAILURES
            raise (FetchFailed if is_failure else UnusableResponse)(f"the response has status {response.status}")
        try:
            members = parse_json_object(response.body)
        except ValueError as cause:
            raise UnusableResponse("the response is not a JSON object") from cause
        return members if members.get("active") is True else None
