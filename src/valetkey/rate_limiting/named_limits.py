"""``NamedLimits``: the one way to charge a request to a limit of the settings, and to refuse it with 429."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from valetkey.protocol.compound_key import join_key
from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.unavailable import BackendUnavailable

from .limit import Limit
from .limiter import Limiter


class NamedLimits:
    """The rate limits of Valetkey's own endpoints and pages. The limits of API routes are charged by ``Admission``.

    :param limits: the limits by name, such as ``token_limit``: that of the setting, or of ``FIXED_LIMITS``.
    :param on_uncounted: called with the error and the time if a request is allowed that cannot be counted.
    """

    def __init__(
        self, limiter: Limiter, limits: Mapping[str, Limit], on_uncounted: Callable[[BackendUnavailable, float], None]
    ) -> None:
        self._limiter = limiter
        self._limits = limits
        self._on_uncounted = on_uncounted

    def charge(
        self,
        name: str,
        *caller: str,
        now: float,
        description: str = "too many requests",
        cost: int = 1,
        fails_open: bool = False,
    ) -> None:
        """Charge a request to the caller's budget of a limit.

        :param name: name of the limit, such as ``userinfo_limit``.
        :param caller: what is counted, such as a ``client_id`` and a network. Each list of parts has its own budget.
        :param now: seconds since 1970.
        :param description: the error message for the caller.
        :param cost: how many requests this one counts as; at most as many as may come at once.
        :param fails_open: whether the request is allowed if the counters are unavailable. Only for callers that are
            authenticated and so do not guess secrets: issuing tokens is then more important than counting them.
        :raises TooManyRequests: if the limit is exceeded.
        :raises BackendUnavailable: if the counters are unavailable, unless ``fails_open`` is true.
        """
        limit, key = self._limits[name], join_key(name, *caller)
        try:
            result = self._limiter.spend(key, limit, now, min(cost, limit.burst))
        except BackendUnavailable as cause:
            if not fails_open:
                raise
            self._on_uncounted(cause, now)
            return
        if not result.is_admitted:
            raise TooManyRequests(
                description,
                limit=name,
                retry_after=result.retry_after,
                log_detail=f"{name} of {join_key(*caller)}",
            )

    def admits(self, name: str, *caller: str, now: float) -> bool:
        """Charge as ``charge``, and return whether the limit admits it, for what is skipped instead of refused.

        :raises BackendUnavailable: if the counters are unavailable.
        """
        try:
            self.charge(name, *caller, now=now)
        except TooManyRequests:
            return False
        return True

    def refund(self, name: str, *caller: str) -> None:
        """Refund a request that was charged a moment ago, such as a sign-in with the right password.

        See ``Limiter.refund_best_effort``.

        :raises BackendUnavailable: if the counters are unavailable.
        """
        self._limiter.refund_best_effort(join_key(name, *caller), self._limits[name])
