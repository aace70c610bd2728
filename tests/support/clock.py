"""The clock of the in-process tests."""

from __future__ import annotations

NOW = 1_900_000_000.0  # Unix time, in March 2030


class Clock:
    """A clock that stands still until a test moves it. Calling it returns the Unix time in seconds."""

    def __init__(self, time: float = NOW) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def forward(self, seconds: float) -> None:
        """Move the clock forward."""
        self.time += seconds
