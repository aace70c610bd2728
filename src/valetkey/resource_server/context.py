"""``ResourceServerContext``: what the code in front of protected views needs to verify tokens and count calls.

``Runtime`` implements it in a Valetkey server, ``StandaloneContext`` in an app that only has ``ResourceServer``.
"""

from __future__ import annotations

from typing import Protocol

from valetkey.protocol.access_token import AccessToken
from valetkey.rate_limiting.admission import Admission


class TokenVerifier(Protocol):
    """Interface of objects that verify the access tokens that callers send."""

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """Verify the access token in an Authorization header, and return it.

        :param authorization: the value of the header, such as ``Bearer <token>``.
        :param now: seconds since 1970.
        :raises InvalidToken: if the token is not valid (RFC 6750 §3.1); the error's ``log_detail`` says why.
        :raises InvalidRequest: if the header is malformed.
        :raises BackendUnavailable: if the token cannot be verified now, as the database or issuer does not respond.
        """
        ...


class UsageRecorder(Protocol):
    """Interface of objects that count how often each client calls each route, and when tokens were last used."""

    def record(self, token: AccessToken, method: str, url_rule: str, status: str, now: float) -> None:
        """Record one call with a valid token. Called in requests, so it must not wait for a disk.

        :param url_rule: URL rule of the route, such as ``/api/places/<id>``.
        :param status: status code of the response, such as ``200``.
        :param now: time of the call, in seconds since 1970.
        """
        ...


class ClockFunction(Protocol):
    """Interface of the clock, a function that tests replace."""

    def __call__(self) -> float:
        """Return the current time in seconds since 1970."""
        ...


class ResourceServerSettings(Protocol):
    """The settings that are read when a protected view is called."""

    @property
    def api_resource(self) -> str: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class ResourceServerContext(Protocol):
    """What the code in front of protected views needs from the app.

    It is stored as ``app.extensions["valetkey"]``.
    """

    @property
    def settings(self) -> ResourceServerSettings: ...
    @property
    def trusted_issuers(self) -> tuple[str, ...]:
        """The other servers whose access tokens are accepted; empty if the app has its own authorization server."""
        ...

    @property
    def clock(self) -> ClockFunction: ...
    @property
    def verifier(self) -> TokenVerifier: ...
    @property
    def admission(self) -> Admission:
        """Charges calls to rate limits and quotas. An app without plans has ``Admission(Limiter(counters))``."""
        ...

    @property
    def usage(self) -> UsageRecorder | None:
        """Counts how often each client calls each route; ``None`` if calls are not counted."""
        ...

    @property
    def is_ready(self) -> bool: ...
    def get_ready(self) -> None:
        """Load what is needed to verify tokens and count calls; called in the first request.

        :raises BackendUnavailable: if this is not possible now; the request then gets 503.
        """
        ...
