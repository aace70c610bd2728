"""Plans: what apps subscribe to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an app that subscribed to it may do.

    :param limit: how often the app may call all protected routes together, as ``60/minute burst 20``.
    :param quota: how many calls it has in each calendar day or month (UTC), as ``10000/month``.
    :param scopes: of the publisher's scopes those that it may be granted, separated by spaces; None: all.
    :param approval: ``auto``, or ``manual``: it waits until the operator approves.
    :param fail: while what counts is down: ``closed`` answers 503, ``open`` lets its calls through, uncounted.
    """

    limit: str = ""
    quota: str = ""
    scopes: str | None = None
    approval: Literal["auto", "manual"] = "auto"
    fail: Literal["closed", "open"] = "closed"

    @property
    def allowed_scopes(self) -> frozenset[str] | None:
        return None if self.scopes is None else frozenset(self.scopes.split())


def parse_plans(value: Any) -> Any:
    """Plans as they are written in JSON, as ``Plan`` values; what is none is left for the settings' checks to tell.

    :raises ValueError: where a plan has a member that there is not.
    """
    if not isinstance(value, Mapping):
        return value
    return {name: _parse_plan(name, plan) if isinstance(plan, Mapping) else plan for name, plan in value.items()}


def _parse_plan(name: str, options: Mapping[str, Any]) -> Plan:
    known = {one.name for one in fields(Plan)}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"the plan {name!r} has no {', '.join(unknown)}: a plan has {', '.join(sorted(known))}")
    return Plan(**options)


def plan_problems(plans: Any, default_plan: str, scopes: Any) -> list[str]:
    """What is wrong with plans, in sentences. Limits and quotas are read where they are counted."""
    if not isinstance(plans, Mapping) or not all(isinstance(plan, Plan) for plan in plans.values()):
        return ['plans must map each name to a Plan, like {"free": Plan(limit="60/minute")}']
    wrong = [] if default_plan in plans or not (plans or default_plan) else [_default_plan_problem(plans, default_plan)]
    for name, plan in plans.items():
        if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            wrong.append(f"plans: {name!r} is no name of letters, digits, - and _")
        if plan.approval not in {"auto", "manual"}:
            wrong.append(f"plans: {name}: approval must be 'auto' or 'manual'")
        if plan.fail not in {"closed", "open"}:
            wrong.append(f"plans: {name}: fail must be 'closed' or 'open'")
        if plan.scopes is not None and not isinstance(plan.scopes, str):
            wrong.append(f"plans: {name}: scopes is one text, with spaces between the names")
        elif isinstance(scopes, Mapping) and (unknown := (plan.allowed_scopes or frozenset()) - scopes.keys()):
            wrong.append(f"plans: {name}: {' '.join(sorted(unknown))} is not in scopes")
    return wrong


def _default_plan_problem(plans: Mapping[str, Plan], default_plan: str) -> str:
    if not plans:
        return f"default_plan is {default_plan!r}, but there are no plans"
    return f"default_plan must be one of {', '.join(plans)}: apps that subscribed to none have it"
