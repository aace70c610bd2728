"""The bound of a rate limit: ``burst + n * t / period`` calls in any ``t`` seconds."""

from __future__ import annotations

from collections.abc import Sequence

from valetkey.rate_limiting.limit import Limit


def excess(admitted: Sequence[tuple[float, int]], limit: Limit) -> float:
    """Return by how many calls the fullest window exceeds the bound; 0 or less if no window does.

    The calls from i to j, both included, are within the bound if ``sum - n * t / period <= burst``. The fullest window
    that ends at j begins at the i for which the sum before it, less the budget replenished by then, is smallest.
    """
    spent, lowest, worst = 0.0, float("inf"), float("-inf")
    for moment, cost in admitted:
        replenished = (moment - admitted[0][0]) / limit.emission_interval_s
        lowest = min(lowest, spent - replenished)
        spent += cost
        worst = max(worst, spent - replenished - lowest)
    return worst - limit.burst
