"""Parses the rate limits in the settings, and the limits and quotas of plans."""

from __future__ import annotations

from dataclasses import dataclass, fields

from valetkey.settings import Settings, SettingsError

from .limit import Limit, parse_limit
from .quota import Quota, parse_quota

# Limits that no setting changes, by name.
FIXED_LIMITS = {
    "document_fetches": parse_limit("60/minute burst 60"),  # client metadata documents fetched from one host
    "plan_changes": parse_limit("10/day burst 10"),  # per client: each plan has its own budget
}


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """Rate limit and quota of one plan; each client with the plan has them separately.

    ``limit`` is ``None`` if the plan has no limit, ``quota`` is ``None`` if it has no quota. If ``fails_open`` is true,
    calls are allowed while they cannot be counted.
    """

    limit: Limit | None
    quota: Quota | None
    fails_open: bool


def parse_limits(settings: Settings) -> tuple[dict[str, Limit], dict[str, PlanBudget]]:
    """Parse the settings whose name ends in ``_limit``, and the limit and quota of each plan.

    Called when the app starts, so that an invalid limit is found then and not at the first sign-in.

    :returns: the limits by name of the setting, with ``FIXED_LIMITS``, and the limit and quota of each plan by name of
        the plan.
    :raises SettingsError: if any limit or quota is invalid; the message has one line for each.
    """
    limits, budgets, problems = dict(FIXED_LIMITS), {}, []
    for name in (field.name for field in fields(settings) if field.name.endswith("_limit")):
        if name == "user_limit" and not settings.user_limit:
            continue
        try:
            limits[name] = parse_limit(getattr(settings, name))
        except ValueError as problem:
            problems.append(f"{name}: {problem}")
    for name, plan in settings.plans.items():
        try:
            limit, quota = (
                parse_limit(plan.limit) if plan.limit else None,
                parse_quota(plan.quota) if plan.quota else None,
            )
            budgets[name] = PlanBudget(limit, quota, plan.fail == "open")
        except ValueError as problem:
            problems.append(f"plans: {name}: {problem}")
    if problems:
        raise SettingsError("\n".join(problems))
    return limits, budgets
