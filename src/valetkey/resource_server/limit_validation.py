"""Checks the rate limits declared on routes, before the first request.

A limit is wrong if it names a plan that is not in the settings, or if it differs from that of another route that shares
its counter (``RateLimit(group=...)``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from valetkey.rate_limiting.limit_settings import PlanBudget
from valetkey.rate_limiting.rate_limit import RateLimit, check_cost

from .protection import RouteProtection
from .routes import Route


def limit_problems(routes: Iterable[Route], budgets: Mapping[str, PlanBudget] | None) -> Iterator[str]:
    """Yield one sentence for each rate limit that contradicts the plans, or another route of its group.

    Called before the first request is served.

    :param budgets: limit and quota of each plan, by name of the plan; ``None`` if this server knows no plans.
    """
    groups: dict[str, tuple[RateLimit, str]] = {}
    for route in routes:
        for protection in route.protections:
            yield from _plan_problems(route.path, protection, budgets)
            limit = protection.limit
            if limit is None or limit.group is None:
                continue
            first, first_path = groups.setdefault(limit.group, (limit, route.path))
            if (first.budgets, first.per) != (limit.budgets, limit.per):
                yield f"{first_path} and {route.path} have different limits in the rate limit group {limit.group}"


def _plan_problems(path: str, protection: RouteProtection, budgets: Mapping[str, PlanBudget] | None) -> Iterator[str]:
    limit = protection.limit
    is_by_plan = limit is not None and limit.is_by_plan
    if budgets is None:
        if is_by_plan:
            yield (
                f"the limit of {path} depends on the client's plan, which only the authorization server knows: use a "
                "limit without plans, or Valetkey instead of ResourceServer"
            )
        return
    if limit is not None and is_by_plan:
        for plan in sorted({str(plan) for plan in limit.budgets} - budgets.keys()):
            yield f"{path} has a limit for the plan {plan}, which is not in plans={{...}}"
    if protection.is_public:
        return
    for plan, budget in budgets.items():
        if budget.limit is not None:
            try:
                check_cost(protection.cost, budget.limit)
            except ValueError as problem:
                yield f"{path} costs {protection.cost} and can never be called with the plan {plan}: {problem}"
