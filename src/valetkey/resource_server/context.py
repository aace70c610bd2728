"""What the guard needs of the app it stands in: a ``Runtime`` has it, and so has a resource server alone."""

from __future__ import annotations

from typing import Protocol

from valetkey.protocol.access_token import AccessToken
from valetkey.rate_limiting.admission import Admission


class TokenVerifier(Protocol):
    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """The good token in an Authorization header.

        :raises InvalidToken, InvalidRequest: where there is none (RFC 6750 §3.1); ``detail`` says why.
        :raises StoreUnavailable: where nobody can tell now.
        """
        ...


class LastUsedRecorder(Protocol):
    def record(self, grant_or_token_id: str, now: float, *, personal: bool = False) -> None:
        """Remember that a grant or a personal access token was used; on the request's path: it writes nothing yet."""
        ...


class UsageRecorder(Protocol):
    def record(self, client_id: str, method: str, url_rule: str, status: str, now: float) -> None:
        """Count one call of an app."""
        ...


class ClockFunction(Protocol):
    def __call__(self) -> float:
        """Seconds since 1970."""
        ...


class ResourceServerSettings(Protocol):
    """The settings that the guard looks at."""

    @property
    def api_resource(self) -> str: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...


class ResourceServerContext(Protocol):
    """Found at ``app.extensions["valetkey"]``."""

    @property
    def settings(self) -> ResourceServerSettings: ...
    @property
    def clock(self) -> ClockFunction: ...
    @property
    def verifier(self) -> TokenVerifier: ...
    @property
    def admission(self) -> Admission:
        """``Admission(Limiter(counters))`` where there are no plans."""
        ...

    @property
    def last_used(self) -> LastUsedRecorder: ...
    @property
    def usage(self) -> UsageRecorder | None:
        """Where calls are metered; None: nowhere."""
        ...

    @property
    def is_ready(self) -> bool: ...
    def get_ready(self) -> None:
        """:raises StoreUnavailable: where the first request must be told to come back."""
        ...
