"""The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11), those of before them, and Retry-After."""

from __future__ import annotations

import math
from collections.abc import Callable

from .admission import Counted, Style


def rate_limit_fields(counted: Counted, style: Style, clock: Callable[[], float]) -> list[tuple[str, str]]:
    """The header fields that tell a caller its limits, what remains, and when to come back.

    ``Retry-After`` (RFC 9110 §10.2.3) is told in every style, as the end of the refusing policy's window (draft §6).
    """
    if style == "ietf" and counted.quota is None and counted.refused is None and len(counted.spent) == 1:
        charge, spent = counted.spent[0]  # the usual case, without what several need
        told = f'"{charge.name}";r={spent.remaining};t={math.ceil(spent.reset)}'
        return [("RateLimit-Policy", charge.policy), ("RateLimit", told)]
    fields = []
    if style in {"ietf", "both"}:
        fields += _ietf(counted)
    if style in {"legacy", "both"}:
        fields += _legacy(counted, clock())
    if not counted.is_admitted:
        fields.append(("Retry-After", str(retry_seconds(counted))))
    return fields


def retry_seconds(counted: Counted) -> int:
    """Whole seconds after which the call may be tried again."""
    return max(1, math.ceil(counted.retry_after))


def _ietf(counted: Counted) -> list[tuple[str, str]]:
    policies, values = [], []
    for charge, spent in counted.spent:
        policies.append(charge.policy)
        window = spent.reset if spent.admitted else spent.retry_after
        values.append(f'"{charge.name}";r={spent.remaining};t={math.ceil(window)}')
    if counted.quota is not None:
        quota = counted.quota
        name = quota_name(quota.quota.unit)
        policies.append(f'"{name}";q={quota.quota.n};w={math.ceil(quota.period)}')
        values.append(f'"{name}";r={quota.remaining};t={math.ceil(quota.reset)}')
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(values))]


def quota_name(unit: str) -> str:
    """The name of a quota's policy."""
    return f"quota-{unit}"


def _legacy(counted: Counted, now: float) -> list[tuple[str, str]]:
    """The names that most APIs use, for the tightest of the limits; the reset is a moment, in seconds since 1970."""
    told = [(spent.remaining, charge.limit.n, spent.reset if spent.admitted else spent.retry_after)
            for charge, spent in counted.spent]  # fmt: skip
    if counted.quota is not None:
        told.append((counted.quota.remaining, counted.quota.quota.n, counted.quota.reset))
    if not told:
        return []
    remaining, most, reset = min(told)
    return [
        ("X-RateLimit-Limit", str(most)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(math.ceil(now + reset))),
    ]
