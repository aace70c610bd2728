"""Introspection of tokens at their issuer (RFC 7662). Concurrent calls with the same token share one request."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote_plus

from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError, FetchFailed
from valetkey.outbound.http import Fetcher
from valetkey.protocol.request_body import parse_json_object
from valetkey.storage.engine.circuit_breaker import CircuitBreaker

from .config import IntrospectionClient, TrustedIssuer
from .errors import IssuerUnavailable

_RESET_TIMEOUT_S = 2.0  # after a failure, one request is sent to an issuer in this time

Claims = Mapping[str, Any]


class Introspector:
    """Sends tokens to the introspection endpoints of their issuers (RFC 7662).

    Responses are not cached here. Each issuer has a circuit breaker: during an outage, one call in 2 seconds waits
    for the issuer, and the others fail at once.

    :param clock: returns the current time in seconds.
    """

    def __init__(self, fetcher: Fetcher, discovery: Discovery, clock: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._discovery = discovery
        self._lock = threading.Lock()
        self._pending: dict[bytes, Future[Claims | None]] = {}
        self._clock = clock
        self._breakers: dict[str, CircuitBreaker] = {}

    def introspect(self, value: str, digest: bytes, issuer: TrustedIssuer) -> Claims | None:
        """Introspect a token; return the members of the response, or ``None`` if the token is not active.

        :param value: the token as the caller sent it.
        :param digest: digest of the token; concurrent calls with the same digest share one request.
        :raises IssuerUnavailable: if the issuer does not respond, or with anything but status 200 and a JSON object.
        """
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
                self._clock,
                error=IssuerUnavailable,
                reset_timeout_s=_RESET_TIMEOUT_S,
            ),
        )
        breaker.check()
        try:
            claims = self._send_request(value, issuer)
        except FetchError:
            breaker.trip()
            raise
        breaker.reset()
        return claims

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
