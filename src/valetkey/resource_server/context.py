"""``ResourceServerContext``: what the guard needs. ``Runtime`` and ``StandaloneContext`` implement it."""

from __future__ import annotations

from typing import Protocol

from valetkey.protocol.access_token import AccessToken
from valetkey.rate_limiting.admission import Admission


class TokenVerifier(Protocol):
    """Verifies the access tokens that callers send."""

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """Return the access token in the value of an Authorization header.

        :raises InvalidToken: if the token is not valid (RFC 6750 §3.1); ``log_detail`` says why.
        :raises InvalidRequest: if the header is malformed.
        :raises StoreUnavailable: if the token cannot be verified now.
        """
        ...


class LastUsedRecorder(Protocol):
    """Records when grants and personal access tokens were last used."""

    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None:
        """Record that a grant or a personal access token was used. Called in requests, so it must not write yet."""
        ...


class UsageRecorder(Protocol):
    """Counts the calls of each client."""

    def record(self, client_id: str, method: str, url_rule: str, status: str, now: float) -> None:
        """Count one call of a client."""
        ...


class ClockFunction(Protocol):
    """The clock; tests replace it."""

    def __call__(self) -> float:
        """Return the current time in seconds since 1970."""
        ...


class ResourceServerSettings(Protocol):
    """The settings that the guard reads."""

    @property
    def api_resource(self) -> str: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class ResourceServerContext(Protocol):
    """What the guard needs from the app; it is at ``app.extensions["valetkey"]``."""

    @property
    def settings(self) -> ResourceServerSettings: ...
    @property
    def clock(self) -> ClockFunction: ...
    @property
    def verifier(self) -> TokenVerifier: ...
    @property
    def admission(self) -> Admission:
        """Charges calls; without plans it is ``Admission(Limiter(counters))``."""
        ...

    @property
    def last_used(self) -> LastUsedRecorder: ...
    @property
    def usage(self) -> UsageRecorder | None:
        """Recorder of each client's calls, or ``None`` if calls are not metered."""
        ...

    @property
    def is_ready(self) -> bool: ...
    def get_ready(self) -> None:
        """Prepare for the first request.

        :raises StoreUnavailable: if that is not possible now; the request then gets 503.
        """
        ...
