"""May this call be let through, by the numbers? The route's limit, the plan's limit and the plan's quota together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from valetkey.storage.engine.transaction import StoreUnavailable

from .limit import Limit
from .limiter import Limiter, LimitResult
from .rate_limit import RateLimit

if TYPE_CHECKING:  # a resource server alone has no plans, and imports no database
    from .limit_settings import PlanBudget
    from .quota import Quota
    from .quotas import QuotaResult, Quotas

FieldsStyle = Literal["ietf", "legacy", "both", "off"]  # of the RateLimit fields
_MAX_CHARGE_PLANS = 20_000
_MAX_AUTHORIZED_ROUTES = 5_000  # each keeps a token, also one that is over
_log = logging.getLogger("valetkey")


class RouteBudget(Protocol):
    """What a route asks of the numbers; the same object, which equals no other, for each call of the route."""

    @property
    def limit(self) -> RateLimit | None: ...
    @property
    def cost(self) -> int: ...
    @property
    def bucket(self) -> str: ...


class Caller(NamedTuple):
    """Who is counted. ``network`` stands for a caller without a token."""

    client_id: str | None
    user_id: str | None
    network: str


@dataclass(frozen=True, slots=True)
class Charge:
    """One budget that a call is charged to; ``name`` is the policy's in the RateLimit fields, ``policy`` its item."""

    name: str
    key: str
    limit: Limit
    fails_open: bool
    policy: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", f'"{self.name}";q={self.limit.max_calls};w={self.limit.period_s}')


@dataclass(slots=True)
class ChargePlan:
    """All that one caller's call of one route is charged to."""

    route_budget: RouteBudget
    plan: str | None  # of the caller, then
    charges: tuple[Charge, ...]
    quota: Quota | None
    quota_holder: str
    quota_fails_open: bool
    is_charged: bool = field(init=False)  # whether a call is charged to anything
    single_charge: Charge | None = field(init=False)  # where there is but one budget, and no quota

    def __post_init__(self) -> None:
        self.is_charged = bool(self.charges) or self.quota is not None
        self.single_charge = self.charges[0] if len(self.charges) == 1 and self.quota is None else None


@dataclass(slots=True)
class AdmissionResult:
    """What the numbers say of one call."""

    charge_plan: ChargePlan
    limit_results: list[tuple[Charge, LimitResult]]
    quota_result: QuotaResult | None = None
    refused_by: Charge | None = None  # the limit that says no
    is_admitted: bool = True

    @property
    def retry_after(self) -> float:
        """Seconds; 0 where the call is admitted."""
        if self.quota_result is not None and not self.quota_result.is_admitted:
            return self.quota_result.reset_after
        return 0.0 if self.refused_by is None else self.limit_results[-1][1].retry_after


class PlanLimits:
    """The budgets of plans, which app has which plan, and where quotas are counted.

    :param default: the plan of whoever has no other; strangers have its limits of routes, and none of its own.
    """

    def __init__(
        self,
        budgets: Mapping[str, PlanBudget],
        default_plan: str,
        find_plan: Callable[[str, float], str],
        quotas: Quotas,
    ) -> None:
        self.budgets = budgets
        self.default_plan = default_plan
        self.find_plan = find_plan
        self.quotas = quotas


class Admission:
    """Charges calls. A refused call is charged nothing, by whichever number it was refused."""

    def __init__(
        self, limiter: Limiter, plans: PlanLimits | None = None, *, fields_style: FieldsStyle = "ietf"
    ) -> None:
        self.limiter = limiter
        self.fields_style: FieldsStyle = fields_style
        self.plans = plans if plans is not None and plans.budgets else None
        self._charge_plans: dict[tuple[RouteBudget, str, str | None, Caller], ChargePlan] = {}
        self.authorized_routes: dict[
            tuple[object, RouteBudget, str], ChargePlan
        ] = {}  # by the token that opened a route, and its endpoint
        self._fail_open_logged_at = 0.0

    def find_plan(self, client_id: str | None, now: float) -> str | None:
        """The caller's plan; None where there are no plans, and for strangers.

        :raises StoreUnavailable: where it must be read, and cannot.
        """
        return None if self.plans is None or client_id is None else self.plans.find_plan(client_id, now)

    def charge(self, charge_plan: ChargePlan, now: float) -> AdmissionResult:
        """Charge one call.

        :raises StoreUnavailable: where the counters cannot be reached, and a limit fails closed.
        """
        cost = charge_plan.route_budget.cost
        return self._standing_refusal(charge_plan, cost, now) or self._charge_budgets(charge_plan, cost, now)

    def find_charge_plan(
        self, route_budget: RouteBudget, endpoint: str, plan: str | None, caller: Caller
    ) -> ChargePlan:
        """The gate as it was worked out once for all such calls."""
        key = (route_budget, endpoint, plan, caller)
        gate = self._charge_plans.get(key)
        if gate is None:
            if len(self._charge_plans) >= _MAX_CHARGE_PLANS:
                self._charge_plans.clear()
            gate = self._charge_plans[key] = self.build_charge_plan(route_budget, endpoint, plan, caller)
        return gate

    def cache_authorized_route(self, token: object, endpoint: str, charge_plan: ChargePlan) -> None:
        """Find the gate in ``opened`` from now on: the token opens the route, whenever it is still good."""
        if len(self.authorized_routes) >= _MAX_AUTHORIZED_ROUTES:
            self.authorized_routes.clear()
        self.authorized_routes[token, charge_plan.route_budget, endpoint] = charge_plan

    def build_charge_plan(
        self, route_budget: RouteBudget, endpoint: str, plan: str | None, caller: Caller
    ) -> ChargePlan:
        """What this caller's call of this route is charged to."""
        charges = []
        routes_plan = self.plans.default_plan if plan is None and self.plans is not None else plan
        if route_budget.limit is not None and (limit := route_budget.limit.of(routes_plan)) is not None:
            name, key = (
                route_budget.limit.group or "default",
                _build_key(route_budget, route_budget.limit, endpoint, caller),
            )
            charges.append(Charge(name, key, limit, route_budget.limit.fail == "open"))
        budget = self.plans.budgets[plan] if self.plans is not None and plan is not None else None
        if budget is None:
            return ChargePlan(route_budget, plan, tuple(charges), None, "", False)
        holder = caller.client_id or ""
        if budget.limit is not None:
            charges.append(Charge(f"plan-{plan}", f"plan|{plan}|{holder}", budget.limit, budget.fails_open))
        return ChargePlan(route_budget, plan, tuple(charges), budget.quota, holder, budget.fails_open)

    def _standing_refusal(self, charge_plan: ChargePlan, cost: int, now: float) -> AdmissionResult | None:
        """The refusal that is known before anything is charged."""
        if charge_plan.quota is not None and self.plans is not None:
            quota = self.plans.quotas.standing_refusal(charge_plan.quota_holder, charge_plan.quota, now, cost)
            if quota is not None:
                return AdmissionResult(charge_plan, [], quota, None, False)
        for charge in charge_plan.charges:
            spent = self.limiter.standing_refusal(charge.key, charge.limit, now, cost)
            if spent is not None:
                return AdmissionResult(charge_plan, [(charge, spent)], None, charge, False)
        return None

    def _charge_budgets(self, charge_plan: ChargePlan, cost: int, now: float) -> AdmissionResult:
        counted = AdmissionResult(charge_plan, [])
        try:
            for charge in charge_plan.charges:
                try:
                    spent = self.limiter.spend(charge.key, charge.limit, now, cost)
                except StoreUnavailable as problem:
                    self.fail_open(charge.fails_open, problem, now)
                    continue
                counted.limit_results.append((charge, spent))
                if not spent.is_admitted:
                    counted.refused_by, counted.is_admitted = charge, False
                    break
            else:
                self._charge_quota(counted, cost, now)
        except StoreUnavailable:
            self._refund(counted, cost, now)
            raise
        if not counted.is_admitted:
            self._refund(counted, cost, now)
        return counted

    def _charge_quota(self, result: AdmissionResult, cost: int, now: float) -> None:
        gate = result.charge_plan
        if gate.quota is None or self.plans is None:
            return
        try:
            result.quota_result = quota = self.plans.quotas.spend(gate.quota_holder, gate.quota, now, cost)
            result.is_admitted = quota.is_admitted
        except StoreUnavailable as problem:
            self.fail_open(gate.quota_fails_open, problem, now)

    def _refund(self, result: AdmissionResult, cost: int, now: float) -> None:
        """Give back what a call was charged that is refused after all; what cannot be given back now is lost.

        Only the one that refuses is told: what the others say is no longer so.
        """
        charged, result.limit_results = (
            result.limit_results,
            [one for one in result.limit_results if not one[1].is_admitted],
        )
        for charge, spent in charged:
            if spent.is_admitted:
                try:
                    self.limiter.refund(charge.key, spent, now, cost)
                except StoreUnavailable:
                    return

    def fail_open(self, fails_open: bool, error: StoreUnavailable, now: float) -> None:
        """While nobody can count: go on, told in the log once a second; or raise the problem."""
        if not fails_open:
            raise error
        if not 0 <= now - self._fail_open_logged_at < 1.0:
            self._fail_open_logged_at = now
            _log.error("limits are not counted now, calls are let through: %s", error)


def _build_key(route_budget: RouteBudget, limit: RateLimit, endpoint: str, caller: Caller) -> str:
    where = f"group|{limit.group}" if limit.group else f"{endpoint}|{route_budget.bucket}"
    if caller.client_id is None or limit.per == "address":
        return f"{where}|address|{caller.network}"
    if limit.per == "app":
        return f"{where}|app|{caller.client_id}"
    return f"{where}|{caller.client_id}|{caller.user_id or ''}"
