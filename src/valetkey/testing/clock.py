"""A clock for tests, whose time changes only when a test advances it."""

from __future__ import annotations

import time


class Clock:
    """A clock for tests: calling it returns the time in seconds since 1970, which changes only with ``forward``.

    :param at: the initial time, in seconds since 1970; the current time by default.
    """

    def __init__(self, at: float | None = None) -> None:
        self._now = time.time() if at is None else at

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        """Advance the clock: access tokens get older, and rate limits refill.

        :raises ValueError: if ``seconds`` is negative, since a server's clock does not run backwards.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative: a clock runs forward only")
        self._now += seconds
