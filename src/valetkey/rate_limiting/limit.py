"""``Limit``: calls per period with a burst, as in ``100/minute burst 20``. The algorithm is GCRA, a leaky bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LEASE_DURATION_S = 0.5  # how long a process may spend a lease, its share of a busy caller's budget
LONG_LEASE_DURATION_S = 1.0  # the same for callers with fewer calls
RENEWAL_LEAD_S = 0.25  # how long before its end a lease of such a caller is renewed
MAX_LEASE_AHEAD_S = LONG_LEASE_DURATION_S + RENEWAL_LEAD_S  # the end of a lease, after the call for which it is taken
# A process may be stopped, with its machine or container, between reading the clock and counting. A call that is
# counted so much later is counted as of then: compared with its own time, the counter would look like one of a fast
# clock, and start anew.
MAX_CALL_AGE_S = 1.0
# A counter that is further ahead than its limit allows, by more than this, was written while a clock was fast.
MAX_CLOCK_OFFSET_S = 60.0
_PERIOD_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LIMIT_PATTERN = re.compile(
    r"(?P<n>[1-9]\d{0,11})\s*/\s*(?:(?P<word>second|minute|hour|day)|(?P<seconds>[1-9]\d{0,6})\s*s)"
    r"(?:\s+burst\s+(?P<burst>[1-9]\d{0,11}))?"
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit that admits at most ``burst + max_calls * t / period_s`` calls in any ``t`` seconds."""

    max_calls: int
    period_s: int
    burst: int
    emission_interval_s: float = field(init=False, repr=False)  # the budget that one call costs, in seconds
    burst_tolerance_s: float = field(init=False, repr=False)  # how far a full burst may run ahead

    def __post_init__(self) -> None:
        object.__setattr__(self, "emission_interval_s", self.period_s / self.max_calls)
        object.__setattr__(self, "burst_tolerance_s", self.burst * self.period_s / self.max_calls)

    def __str__(self) -> str:
        return f"{self.max_calls}/{self.period_s}s burst {self.burst}"


def parse_limit(text: str) -> Limit:
    """Parse a rate limit such as ``100/minute`` or ``100/600s burst 20``.

    The period is second, minute, hour, day, or a number of seconds followed by ``s``. The burst is how many calls may
    come at once; if it is omitted, it is a tenth of the number of calls, and at least 1.

    :raises ValueError: if the text is not such a limit; the message shows valid ones.
    """
    match = _LIMIT_PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(
            f"a limit must look like '100/minute' or '100/minute burst 20', not {text!r}: use whole numbers of at "
            "least 1, per second, minute, hour, day or number of seconds, as in '100/600s'"
        )
    n = int(match["n"])
    period = _PERIOD_SECONDS[match["word"]] if match["word"] else int(match["seconds"])
    return Limit(n, period, int(match["burst"]) if match["burst"] else max(1, n // 10))
