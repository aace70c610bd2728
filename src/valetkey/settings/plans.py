"""Plans that apps (OAuth clients) can subscribe to: their rate limit, quota and scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan that apps (OAuth clients) can subscribe to: its rate limit, quota and scopes.

    Pass plans as ``Valetkey(plans={"free": Plan(limit="60/minute")}, default_plan="free")``.

    :param limit: rate limit of the app over all protected routes together, such as ``60/minute burst 20``; empty for
        no limit.
    :param quota: number of calls per calendar day or month (UTC), such as ``10000/month``; empty for no quota.
    :param scopes: API scopes that the app can be granted, separated by spaces; ``None`` for all.
    :param approval: ``auto``, or ``manual`` if the operator must approve each subscription.
    :param fail: behavior while calls cannot be counted because the counter backend is unavailable: ``closed``
        responds 503, ``open`` allows the calls without counting them.
    """

    limit: str = ""
    quota: str = ""
    scopes: str | None = None
    approval: Literal["auto", "manual"] = "auto"
    fail: Literal["closed", "open"] = "closed"

    @property
    def allowed_scopes(self) -> frozenset[str] | None:
        """API scopes that the plan allows; ``None`` if it allows all."""
        return None if self.scopes is None else frozenset(self.scopes.split())


def parse_plans(value: Any) -> Any:
    """Convert the value of the setting ``plans`` and return it: JSON objects, by plan name, become ``Plan`` values.

    A value of another type is returned unchanged; ``plan_problems`` reports it later.

    :raises ValueError: if a plan has an unknown member.
    """
    if not isinstance(value, Mapping):
        return value
    return {name: _parse_plan(name, plan) if isinstance(plan, Mapping) else plan for name, plan in value.items()}


def _parse_plan(name: str, options: Mapping[str, Any]) -> Plan:
    valid = {field.name for field in fields(Plan)}
    unknown = sorted(options.keys() - valid)
    if unknown:
        raise ValueError(
            f"the plan {name!r} has unknown members: {', '.join(unknown)}; a plan can have {', '.join(sorted(valid))}"
        )
    return Plan(**options)


def plan_problems(plans: Any, default_plan: str, scopes: Any) -> list[str]:
    """Return what is wrong with the setting ``plans``, one sentence per problem; an empty list if nothing is.

    Rate limits and quotas are not checked here: ``rate_limiting.limit_settings`` parses them.
    """
    if not isinstance(plans, Mapping) or not all(isinstance(plan, Plan) for plan in plans.values()):
        return ['plans must map each name to a Plan, like {"free": Plan(limit="60/minute")}']
    needs_default = bool(plans or default_plan)
    problems = [_default_plan_problem(plans, default_plan)] if needs_default and default_plan not in plans else []
    for name, plan in plans.items():
        if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            problems.append(f"plans: the name {name!r} must consist of letters, digits, - and _")
        if plan.approval not in {"auto", "manual"}:
            problems.append(f"plans: {name}: approval must be 'auto' or 'manual'")
        if plan.fail not in {"closed", "open"}:
            problems.append(f"plans: {name}: fail must be 'closed' or 'open'")
        if plan.scopes is not None and not isinstance(plan.scopes, str):
            problems.append(f"plans: {name}: scopes must be a string, with spaces between the names")
        elif isinstance(scopes, Mapping) and (unknown := (plan.allowed_scopes or frozenset()) - scopes.keys()):
            problems.append(f"plans: {name}: {' '.join(sorted(unknown))} is not in scopes")
    return problems


def _default_plan_problem(plans: Mapping[str, Plan], default_plan: str) -> str:
    if not plans:
        return f"default_plan is {default_plan!r}, but there are no plans"
    return f"default_plan must be one of {', '.join(plans)}: it is the plan of apps without a subscription"
