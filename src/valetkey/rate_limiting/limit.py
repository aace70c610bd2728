"""A limit as a value: ``100/minute`` with a burst (GCRA, the leaky bucket as a meter)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LEASE_DURATION_S = 0.5  # how long a process may use what it took of a hot key's budget
_PERIOD_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LIMIT_PATTERN = re.compile(
    r"(?P<n>[1-9]\d{0,11})\s*/\s*(?:(?P<word>second|minute|hour|day)|(?P<seconds>[1-9]\d{0,6})\s*s)"
    r"(?:\s+burst\s+(?P<burst>[1-9]\d{0,11}))?"
)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``burst + n * t / period`` calls in any ``t`` seconds."""

    max_calls: int
    period_s: int  # seconds
    burst: int
    emission_interval_s: float = field(init=False, repr=False)  # seconds of the budget that one call costs
    burst_tolerance_s: float = field(init=False, repr=False)  # seconds by which a full burst may run ahead

    def __post_init__(self) -> None:
        object.__setattr__(self, "emission_interval_s", self.period_s / self.max_calls)
        object.__setattr__(self, "burst_tolerance_s", self.burst * self.period_s / self.max_calls)

    def __str__(self) -> str:
        return f"{self.max_calls}/{self.period_s}s burst {self.burst}"


def parse_limit(text: str) -> Limit:
    """``n/period`` (second, minute, hour, day, or ``<seconds>s``), optionally followed by ``burst b``.

    The burst is a tenth of n where it is not said, and at least 1.

    :raises ValueError: with a sentence, on any other text.
    """
    found = _LIMIT_PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ValueError(
            f"a limit reads like '100/minute' or '100/minute burst 20', not {text!r}: whole numbers from 1 on, for "
            "each second, minute, hour, day or number of seconds, as '100/600s'"
        )
    n = int(found["n"])
    period = _PERIOD_SECONDS[found["word"]] if found["word"] else int(found["seconds"])
    return Limit(n, period, int(found["burst"]) if found["burst"] else max(1, n // 10))
