"""``Quota``: calls per calendar day or month in UTC, as in ``1000/day``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

_QUOTA_PATTERN = re.compile(r"(?P<n>[1-9]\d{0,14})\s*/\s*(?P<unit>day|month)")


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota that admits at most ``max_calls`` calls per calendar day or month (UTC)."""

    max_calls: int
    unit: Literal["day", "month"]

    def period_bounds(self, now: float) -> tuple[float, float]:
        """Return the start and the end of the day or month (UTC) that contains ``now``, in seconds since 1970."""
        day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "day":
            return day.timestamp(), (day + timedelta(days=1)).timestamp()
        first = day.replace(day=1)
        return first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp()

    def __str__(self) -> str:
        return f"{self.max_calls}/{self.unit}"


def parse_quota(text: str) -> Quota:
    """Parse a quota such as ``1000/day`` or ``10000/month``.

    :raises ValueError: if the text is not such a quota; the message shows valid ones.
    """
    match = _QUOTA_PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"a quota must look like '1000/day' or '10000/month', not {text!r}")
    return Quota(int(match["n"]), "day" if match["unit"] == "day" else "month")
