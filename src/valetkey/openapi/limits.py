"""Build the OpenAPI extensions ``x-rate-limit`` of an operation and ``x-plans`` of the API, as numbers and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from valetkey.rate_limiting.limit import Limit, parse_limit
from valetkey.rate_limiting.quota import parse_quota
from valetkey.resource_server.protection import RouteProtection
from valetkey.settings import Settings
from valetkey.settings.plans import Plan

_PERIOD_NAMES = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


def rate_limit_extension(protections: Sequence[RouteProtection]) -> dict[str, Any] | None:
    """Return the value of the OpenAPI extension ``x-rate-limit`` of a route, or None if the route has no rate limit.

    A single limit has the members ``limit`` (calls), ``window`` (seconds) and ``burst`` (calls that can be made at
    once), ``plan`` if it applies to one plan, and ``cost`` if a call counts more than once. If there are several
    limits, the member ``policies`` is a list of these objects. ``description`` says all of it in English.

    :param protections: what each of the route's decorators requires. Each limit applies.
    """
    limited = [protection for protection in protections if protection.limit is not None]
    policies = [
        _policy(protection, plan, limit) for protection in limited for plan, limit in _limits_by_plan(protection)
    ]
    if not policies:
        return None
    policy = policies[0] if len(policies) == 1 else {"policies": policies}
    return {**policy, "description": " ".join(map(_describe_limits, limited))}


def _policy(protection: RouteProtection, plan: str, limit: Limit) -> dict[str, Any]:
    return {
        "limit": limit.max_calls,
        "window": limit.period_s,
        "burst": limit.burst,
        **({"plan": plan} if plan else {}),
        **({"cost": protection.cost} if protection.cost > 1 else {}),
    }


def _describe_limits(protection: RouteProtection) -> str:
    text = "; ".join(_describe_limit(plan, limit) for plan, limit in _limits_by_plan(protection))
    text = f"{text[0].upper()}{text[1:]}, {_describe_counter(protection)}."
    return f"{text} Each call counts as {protection.cost}." if protection.cost > 1 else text


def plans_extension(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the value of the OpenAPI extension ``x-plans``, by the name of each plan in the settings.

    A plan has the members ``limit`` and ``quota``, which count the calls to all operations and are absent if the plan
    has none, and ``description`` in English.
    """
    return {
        name: {
            **({"limit": plan.limit} if plan.limit else {}),
            **({"quota": plan.quota} if plan.quota else {}),
            "description": _describe_plan(plan, is_default=name == settings.default_plan),
        }
        for name, plan in settings.plans.items()
    }


def _describe_plan(plan: Plan, *, is_default: bool) -> str:
    parts = [_describe_limit("", parse_limit(plan.limit))] if plan.limit else []
    if plan.quota:
        quota = parse_quota(plan.quota)
        parts.append(f"{quota.max_calls:,} calls in each {quota.unit} (UTC)")
    text = f"{'; '.join(parts) or 'as many calls as the operations allow'}, for each app over all operations"
    text = f"{text[0].upper()}{text[1:]}."
    if plan.scopes is not None:
        text += f" Scopes: {', '.join(plan.scopes.split()) or 'none'}."
    if is_default:
        text += " This is the default plan."
    elif plan.approval == "manual":
        text += " The operator of the API has to approve it."
    return text


def _limits_by_plan(protection: RouteProtection) -> Iterator[tuple[str, Limit]]:
    """Yield each rate limit of a route with the plan to which it applies, ``""`` if it applies to all plans."""
    if protection.limit is not None:
        for plan, limit in protection.limit.budgets.items():
            yield plan or "", limit


def _describe_counter(protection: RouteProtection) -> str:
    limit = protection.limit
    assert limit is not None
    per = "address" if protection.is_public else limit.per
    words = {"address": "network address", "app": "app", "user": "app and user together"}[per]
    return f"for each {words}" + (f", shared by all operations of the group {limit.group}" if limit.group else "")


def _describe_limit(plan_name: str, limit: Limit) -> str:
    calls = "1 call" if limit.max_calls == 1 else f"{limit.max_calls:,} calls"
    period = _PERIOD_NAMES.get(limit.period_s)
    each = f"a {period}" if period and period != "hour" else "an hour" if period else f"in {limit.period_s} seconds"
    at_once = "all of them at once" if limit.burst >= limit.max_calls else f"{limit.burst:,} at once"
    return f"{f'on the plan {plan_name} ' if plan_name else ''}{calls} {each}, {at_once}"
