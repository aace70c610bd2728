"""The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-11) and Retry-After (RFC 9110 §10.2.3)."""

from __future__ import annotations

import math

from .limiter import Spent


def rate_limit_fields(spent: Spent) -> list[tuple[str, str]]:
    """The header fields that tell a caller its limit, what remains, and when to come back."""
    fields = [
        ("RateLimit-Policy", f'"default";q={spent.limit.n};w={spent.limit.period}'),
        ("RateLimit", f'"default";r={spent.remaining};t={math.ceil(spent.reset)}'),
    ]
    if not spent.admitted:
        fields.append(("Retry-After", str(math.ceil(spent.retry_after))))
    return fields
