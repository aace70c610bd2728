"""The settings that are limits, and what plans say of limits and quotas."""

from __future__ import annotations

from dataclasses import dataclass, fields

from valetkey.settings import Settings, SettingsError

from .limit import Limit, parse_limit
from .quota import Quota, parse_quota


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """What a plan lets an app call; None: no limit, no quota."""

    limit: Limit | None
    quota: Quota | None
    fails_open: bool


def parse_limits(settings: Settings) -> tuple[dict[str, Limit], dict[str, PlanBudget]]:
    """The settings that are limits, by name; and the budgets of the plans.

    :raises SettingsError: with every one that cannot be: at the start, not when somebody signs in.
    """
    limits, budgets, problems = {}, {}, []
    for name in (one.name for one in fields(settings) if one.name.endswith("_limit")):
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
