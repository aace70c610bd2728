"""The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11), those of before them, and Retry-After.

Here is also the short way to them: a call that a lease pays for.
"""

from __future__ import annotations

import math

from .admission import Admission, AdmissionResult, ChargePlan, FieldsStyle

Fields = list[tuple[str, str]]


def charge_lease(admission: Admission, charge_plan: ChargePlan, now: float) -> Fields | None:
    """Charge one call to the lease that this process holds, and tell its fields.

    The usual call of a busy caller: ``count`` and ``rate_limit_fields`` say the same, and take 2 us more. None, and
    nothing charged, where that is what is needed.
    """
    charge = charge_plan.single_charge
    if charge is None or admission.fields_style != "ietf":
        return None
    paid = admission.limiter.spend_lease(charge.key, charge.limit, now, charge_plan.route_budget.cost)
    if paid is None:
        return None
    remaining, reset = paid
    return [("RateLimit-Policy", charge.policy), ("RateLimit", f'"{charge.name}";r={remaining};t={math.ceil(reset)}')]


def rate_limit_fields(result: AdmissionResult, style: FieldsStyle, now: float) -> Fields:
    """The header fields that tell a caller its limits, what remains, and when to come back.

    ``Retry-After`` (RFC 9110 §10.2.3) is told in every style, as the end of the refusing policy's window (draft §6).
    """
    fields = []
    if style in {"ietf", "both"}:
        fields += _ietf_fields(result)
    if style in {"legacy", "both"}:
        fields += _legacy_fields(result, now)
    if not result.is_admitted:
        fields.append(("Retry-After", str(retry_after_seconds(result))))
    return fields


def retry_after_seconds(result: AdmissionResult) -> int:
    """Whole seconds after which the call may be tried again."""
    return max(1, math.ceil(result.retry_after))


def _ietf_fields(result: AdmissionResult) -> Fields:
    policies, values = [], []
    for charge, spent in result.limit_results:
        policies.append(charge.policy)
        window = spent.reset_after if spent.is_admitted else spent.retry_after
        values.append(f'"{charge.name}";r={spent.remaining};t={math.ceil(window)}')
    if result.quota_result is not None:
        quota = result.quota_result
        name = quota_policy_name(quota.quota.unit)
        policies.append(f'"{name}";q={quota.quota.max_calls};w={math.ceil(quota.period_s)}')
        values.append(f'"{name}";r={quota.remaining};t={math.ceil(quota.reset_after)}')
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(values))]


def quota_policy_name(unit: str) -> str:
    """The name of a quota's policy."""
    return f"quota-{unit}"


def _legacy_fields(result: AdmissionResult, now: float) -> Fields:
    """The names that most APIs use, for the tightest of the limits; the reset is a moment, in seconds since 1970."""
    told = [(spent.remaining, charge.limit.max_calls, spent.reset_after if spent.is_admitted else spent.retry_after)
            for charge, spent in result.limit_results]  # fmt: skip
    if result.quota_result is not None:
        told.append(
            (result.quota_result.remaining, result.quota_result.quota.max_calls, result.quota_result.reset_after)
        )
    if not told:
        return []
    remaining, most, reset = min(told)
    return [
        ("X-RateLimit-Limit", str(most)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(math.ceil(now + reset))),
    ]
