"""The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11), those of before them, and Retry-After.

Here is also the short way to them: a call that a lease pays for.
"""

from __future__ import annotations

import math

from .admission import Admission, Counted, Gate, Style

Fields = list[tuple[str, str]]


def fields_by_lease(admission: Admission, gate: Gate, now: float) -> Fields | None:
    """Charge one call to the lease that this process holds, and tell its fields.

    The usual call of a busy caller: ``count`` and ``rate_limit_fields`` say the same, and take 2 us more. None, and
    nothing charged, where that is what is needed.
    """
    charge = gate.only
    if charge is None or admission.fields != "ietf":
        return None
    paid = admission.limiter.spend_lease(charge.key, charge.limit, now, gate.asked.cost)
    if paid is None:
        return None
    remaining, reset = paid
    return [("RateLimit-Policy", charge.policy), ("RateLimit", f'"{charge.name}";r={remaining};t={math.ceil(reset)}')]


def rate_limit_fields(counted: Counted, style: Style, now: float) -> Fields:
    """The header fields that tell a caller its limits, what remains, and when to come back.

    ``Retry-After`` (RFC 9110 §10.2.3) is told in every style, as the end of the refusing policy's window (draft §6).
    """
    fields = []
    if style in {"ietf", "both"}:
        fields += _ietf(counted)
    if style in {"legacy", "both"}:
        fields += _legacy(counted, now)
    if not counted.is_admitted:
        fields.append(("Retry-After", str(retry_seconds(counted))))
    return fields


def retry_seconds(counted: Counted) -> int:
    """Whole seconds after which the call may be tried again."""
    return max(1, math.ceil(counted.retry_after))


def _ietf(counted: Counted) -> Fields:
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


def _legacy(counted: Counted, now: float) -> Fields:
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
