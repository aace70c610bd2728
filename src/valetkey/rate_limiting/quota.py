"""A quota as a value: so many calls in each calendar day or month, UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

_QUOTA_PATTERN = re.compile(r"(?P<n>[1-9]\d{0,14})\s*/\s*(?P<unit>day|month)")


@dataclass(frozen=True, slots=True)
class Quota:
    """At most ``n`` calls from the beginning of a day or month to its end."""

    max_calls: int
    unit: Literal["day", "month"]

    def period_bounds(self, now: float) -> tuple[float, float]:
        """When the period that runs at ``now`` began, and when it ends; seconds since 1970."""
        day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "day":
            return day.timestamp(), (day + timedelta(days=1)).timestamp()
        first = day.replace(day=1)
        return first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp()

    def __str__(self) -> str:
        return f"{self.max_calls}/{self.unit}"


def parse_quota(text: str) -> Quota:
    """``n/day`` or ``n/month``.

    :raises ValueError: with a sentence, on any other text.
    """
    found = _QUOTA_PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ValueError(f"a quota reads like '1000/day' or '10000/month', not {text!r}")
    return Quota(int(found["n"]), "day" if found["unit"] == "day" else "month")
