"""The checks of ``/readyz`` in an app with ``ResourceServer``: the metadata of its issuers, and rate limit counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Flask

from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.limiter import Limiter

from .health import Readiness


class IssuerReadiness(Readiness):
    """The state of what requests to a resource server depend on.

    None of these checks is required: a token that was verified before is accepted while its issuer is unavailable.

    :param find_issuers_without_metadata: returns the issuers whose metadata is needed, and cannot be fetched.
    :param clock: returns the current time in seconds since 1970.
    """

    def __init__(
        self,
        app: Flask,
        find_issuers_without_metadata: Callable[[], Sequence[str]],
        limiter: Limiter,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(app)
        self._find_issuers_without_metadata = find_issuers_without_metadata
        self._limiter, self._clock = limiter, clock

    def check(self) -> dict[str, str]:
        return {
            "issuers": self.run("issuers", self._check_issuers),
            "counters": self.check_counters(self._limiter, self._clock()),
        }

    def _check_issuers(self) -> None:
        missing = self._find_issuers_without_metadata()
        if missing:
            raise BackendUnavailable(f"the metadata of {', '.join(missing)} cannot be fetched")
