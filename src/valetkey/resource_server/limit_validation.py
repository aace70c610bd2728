"""Checks the rate limits and costs declared on routes, before the first request.

A limit is wrong if it names a plan that is not in the settings, or if it differs from that of another route that shares
its counter (``RateLimit(group=...)``). A cost is wrong if it is more than the limit or quota of every plan that allows
the scopes of the route, or more than ``user_limit`` if only users can call the route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limit_settings import PlanBudget
from valetkey.rate_limiting.rate_limit import RateLimit, check_cost
from valetkey.settings import Settings

from .protection import RouteProtection
from .routes import Route


def limit_problems(
    routes: Iterable[Route], settings: Settings, budgets: Mapping[str, PlanBudget] | None, user_limit: Limit | None
) -> Iterator[str]:
    """Yield one sentence for each rate limit or cost that contradicts the settings, or another route of its group.

    Called before the first request is served.

    :param budgets: limit and quota of each plan, by name of the plan; ``None`` if this server knows no plans.
    :param user_limit: limit of each user over all apps; ``None`` if there is none.
    """
    groups: dict[str, tuple[RateLimit, str]] = {}
    for route in routes:
        for protection in route.protections:
            yield from _plan_problems(route.path, protection, budgets)
            for problem, excludes_everyone in _cost_problems(route, protection, settings, budgets or {}, user_limit):
                if excludes_everyone:
                    yield problem
            limit = protection.limit
            if limit is None or limit.group is None:
                continue
            first, first_path = groups.setdefault(limit.group, (limit, route.path))
            if (first.budgets, first.per) != (limit.budgets, limit.per):
                yield f"{first_path} and {route.path} have different limits in the rate limit group {limit.group}"


def cost_advice(
    routes: Iterable[Route], settings: Settings, budgets: Mapping[str, PlanBudget], user_limit: Limit | None
) -> Iterator[str]:
    """Yield one sentence for each cost that is too high for some callers of a route, but not for all.

    :param budgets: as for ``limit_problems``, and ``user_limit``, too.
    """
    for route in routes:
        for protection in route.protections:
            for problem, excludes_everyone in _cost_problems(route, protection, settings, budgets, user_limit):
                if not excludes_everyone:
                    yield problem


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


def _cost_problems(
    route: Route,
    protection: RouteProtection,
    settings: Settings,
    budgets: Mapping[str, PlanBudget],
    user_limit: Limit | None,
) -> Iterator[tuple[str, bool]]:
    """Yield a sentence for each plan whose limit or quota is below the cost of a route, and one for ``user_limit``.

    With each sentence, yield whether the cost is too high for all callers. Clients whose plan does not allow the
    scopes of the route cannot call it anyway: these plans are left out.
    """
    if protection.is_public:
        return
    cannot = f"{route.path} costs {protection.cost} and can never be called"
    refusals = {
        plan: _budget_problem(protection.cost, budget.limit)
        or (f"its quota is {budget.quota}" if budget.quota and protection.cost > budget.quota.max_calls else "")
        for plan, budget in budgets.items()
        if _allows_scopes(settings, plan, route)
    }
    for plan, problem in refusals.items():
        if problem:
            yield f"{cannot} with the plan {plan}: {problem}", all(refusals.values()) and not protection.optional
    if problem := _budget_problem(protection.cost, user_limit):
        yield f"{cannot} by users, because of user_limit: {problem}", protection.is_for_users_only


def _allows_scopes(settings: Settings, plan: str, route: Route) -> bool:
    """Return whether apps with a plan can have the scopes of a route; a plan limits only the scopes of the API."""
    allowed = settings.plans[plan].allowed_scopes
    forbidden = frozenset() if allowed is None else settings.scopes.keys() - allowed
    return all(
        not protection.scope_alternatives or any(scope.isdisjoint(forbidden) for scope in protection.scope_alternatives)
        for protection in route.protections
    )


def _budget_problem(cost: int, limit: Limit | None) -> str:
    """Return why a limit never admits a call with this cost; empty if it may, or if there is no limit."""
    if limit is not None:
        try:
            check_cost(cost, limit)
        except ValueError as problem:
            return str(problem)
    return ""
