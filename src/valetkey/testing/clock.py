"""A clock that stands still until a test moves it."""

from __future__ import annotations

import time


class Clock:
    """Answers seconds since 1970, the same until ``forward`` is called; it begins now, or where it is told."""

    def __init__(self, at: float | None = None) -> None:
        self._now = time.time() if at is None else at

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        """Let time pass: tokens age, limits fill up again.

        :raises ValueError: for less than none, since no server's clock runs backwards.
        """
        if seconds < 0:
            raise ValueError("a clock goes forward only")
        self._now += seconds
