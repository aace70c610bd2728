"""Admission of API calls: each is charged to the route's limit, and to the limit and quota of the client's plan."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from valetkey.protocol.compound_key import join_key
from valetkey.protocol.unavailable import BackendUnavailable

from .limit import Limit
from .limiter import Limiter, LimitResult
from .rate_limit import RateLimit

if TYPE_CHECKING:  # a ResourceServer has no plans, and must not import the database
    from .limit_settings import PlanBudget
    from .quota import Quota
    from .quota_counter import QuotaResult, Quotas

FieldsStyle = Literal["ietf", "legacy", "both", "off"]  # the setting rate_limit_fields
_MAX_CHARGE_PLANS = 20_000
_MAX_AUTHORIZED_ROUTES = 5_000  # each entry keeps its token in memory, even if it has expired
_log = logging.getLogger("valetkey")


class RouteBudget(Protocol):
    """Rate limit and cost of a route. With ``cost`` 0, calls are charged to no limit or quota. Compared by identity."""

    @property
    def limit(self) -> RateLimit | None: ...
    @property
    def cost(self) -> int: ...
    @property
    def bucket(self) -> str: ...


class Caller(NamedTuple):
    """The client, user and network that an API call is counted for.

    ``client_id`` is ``None`` if the call has no access token; ``user_id`` also if the client acts for itself.
    ``network`` counts if there is no token or the limit is per address.
    """

    client_id: str | None
    user_id: str | None
    network: str


@dataclass(frozen=True, slots=True)
class Charge:
    """A rate limit that an API call of one caller is charged to.

    ``name`` is its name in the RateLimit header fields, ``policy`` its item in the RateLimit-Policy field, and ``key``
    the name of the caller's counter.
    """

    name: str
    key: str
    limit: Limit
    fails_open: bool
    policy: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", f'"{self.name}";q={self.limit.max_calls};w={self.limit.period_s}')


@dataclass(slots=True)
class ChargePlan:
    """The limits and the quota that each call of one route by one caller is charged to."""

    route_budget: RouteBudget
    plan: str | None  # the caller's plan when this was built
    charges: tuple[Charge, ...]
    quota: Quota | None
    quota_holder: str
    quota_fails_open: bool
    is_charged: bool = field(init=False)  # whether there is any budget to charge
    single_charge: Charge | None = field(init=False)  # the charge, if there is exactly one and no quota

    def __post_init__(self) -> None:
        self.is_charged = bool(self.charges) or self.quota is not None
        self.single_charge = self.charges[0] if len(self.charges) == 1 and self.quota is None else None


@dataclass(slots=True)
class AdmissionResult:
    """Whether one API call is admitted, and the result of each limit and quota that it was charged to."""

    charge_plan: ChargePlan
    limit_results: list[tuple[Charge, LimitResult]]
    quota_result: QuotaResult | None = None
    refused_by: Charge | None = None  # the limit that refuses the call
    is_admitted: bool = True
    is_repeated: bool = False  # refused without reading a counter: the caller was refused within the last second

    @property
    def retry_after(self) -> float:
        """Seconds until the call may be retried; 0 if it is admitted."""
        if self.quota_result is not None and not self.quota_result.is_admitted:
            return self.quota_result.reset_after
        return 0.0 if self.refused_by is None else self.limit_results[-1][1].retry_after


class PlanLimits:
    """The limit and quota of each plan, the function that finds a client's plan, and the counter of the quotas.

    :param budgets: limit and quota of each plan, by name of the plan.
    :param default_plan: the plan of clients that have no other. Calls without a token have the per-route limits of this
        plan, but not the plan's own limit and quota.
    :param find_plan: function that returns the name of a client's plan for a client id and the current time.
    :param quotas: counts the calls of each client's quota.
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
    """Charges API calls to their limits and quotas. A call that one of them refuses is charged to none of them."""

    def __init__(
        self,
        limiter: Limiter,
        plans: PlanLimits | None = None,
        *,
        fields_style: FieldsStyle = "ietf",
        user_limit: Limit | None = None,
    ) -> None:
        self.limiter = limiter
        self.user_limit = user_limit
        self.fields_style: FieldsStyle = fields_style
        self.plans = plans if plans is not None and plans.budgets else None
        self._charge_plans: dict[tuple[RouteBudget, str, str | None, Caller], ChargePlan] = {}
        # By token, route and endpoint, if the token was authorized for the route. Without it the benchmark row "P1b
        # people" takes 7 % more CPU time.
        self.authorized_routes: dict[tuple[object, RouteBudget, str], ChargePlan] = {}
        self._fail_open_logged_at = 0.0

    def find_plan(self, client_id: str | None, now: float) -> str | None:
        """Return the name of the client's plan, or ``None`` if there are no plans or ``client_id`` is ``None``.

        :raises BackendUnavailable: if the plan must be read from the database, and cannot be.
        """
        return None if self.plans is None or client_id is None else self.plans.find_plan(client_id, now)

    def charge(self, charge_plan: ChargePlan, now: float) -> AdmissionResult:
        """Charge one call to the limits and the quota in ``charge_plan``; if one refuses the call, refund the others.

        :raises BackendUnavailable: if the counters cannot be reached, and a limit or quota is set to refuse calls then.
        """
        cost = charge_plan.route_budget.cost
        return self.find_standing_refusal(charge_plan, now) or self._charge_budgets(charge_plan, cost, now)

    def find_charge_plan(
        self, route_budget: RouteBudget, endpoint: str, plan: str | None, caller: Caller
    ) -> ChargePlan:
        """Return what the caller's calls of a route are charged to, cached. See ``build_charge_plan``."""
        key = (route_budget, endpoint, plan, caller)
        charge_plan = self._charge_plans.get(key)
        if charge_plan is None:
            if len(self._charge_plans) >= _MAX_CHARGE_PLANS:
                self._charge_plans.clear()
            charge_plan = self._charge_plans[key] = self.build_charge_plan(route_budget, endpoint, plan, caller)
        return charge_plan

    def cache_authorized_route(self, token: object, endpoint: str, charge_plan: ChargePlan) -> None:
        """Cache in ``authorized_routes`` that a token may call a route, and what its calls are charged to.

        The cache entry does not mean that the token is still valid; the token is verified for each call.
        """
        if len(self.authorized_routes) >= _MAX_AUTHORIZED_ROUTES:
            self.authorized_routes.clear()
        self.authorized_routes[token, charge_plan.route_budget, endpoint] = charge_plan

    def build_charge_plan(
        self, route_budget: RouteBudget, endpoint: str, plan: str | None, caller: Caller
    ) -> ChargePlan:
        """Return the limits and the quota that the caller's calls of a route are charged to.

        :param route_budget: limit and cost of the route.
        :param endpoint: name of the route's Flask endpoint.
        :param plan: the client's plan; ``None`` if there are no plans or the call has no token.
        """
        if route_budget.cost == 0:
            return ChargePlan(route_budget, plan, (), None, "", False)
        charges = []
        routes_plan = self.plans.default_plan if plan is None and self.plans is not None else plan
        if route_budget.limit is not None and (limit := route_budget.limit.of(routes_plan)) is not None:
            name, key = (
                route_budget.limit.group or "default",
                _build_key(route_budget, route_budget.limit, endpoint, caller),
            )
            charges.append(Charge(name, key, limit, route_budget.limit.fail == "open"))
        if self.user_limit is not None and caller.user_id is not None:
            charges.append(Charge("user", join_key("user", caller.user_id), self.user_limit, fails_open=True))
        budget = self.plans.budgets[plan] if self.plans is not None and plan is not None else None
        if budget is None:
            return ChargePlan(route_budget, plan, tuple(charges), None, "", False)
        holder = caller.client_id or ""
        if budget.limit is not None:
            key = join_key("plan", str(plan), holder)
            charges.append(Charge(f"plan-{plan}", key, budget.limit, budget.fails_open))
        return ChargePlan(route_budget, plan, tuple(charges), budget.quota, holder, budget.fails_open)

    def find_standing_refusal(self, charge_plan: ChargePlan, now: float) -> AdmissionResult | None:
        """Return the result of a call that will be refused for certain, without charging it; else return ``None``."""
        cost = charge_plan.route_budget.cost
        if charge_plan.quota is not None and self.plans is not None:
            quota_result = self.plans.quotas.standing_refusal(charge_plan.quota_holder, charge_plan.quota, now, cost)
            if quota_result is not None:
                return AdmissionResult(charge_plan, [], quota_result, None, False, True)
        for charge in charge_plan.charges:
            limit_result = self.limiter.standing_refusal(charge.key, charge.limit, now, cost)
            if limit_result is not None:
                return AdmissionResult(charge_plan, [(charge, limit_result)], None, charge, False, True)
        return None

    def _charge_budgets(self, charge_plan: ChargePlan, cost: int, now: float) -> AdmissionResult:
        result = AdmissionResult(charge_plan, [])
        try:
            for charge in charge_plan.charges:
                try:
                    limit_result = self.limiter.spend(charge.key, charge.limit, now, cost)
                except BackendUnavailable as error:
                    self.fail_open(charge.fails_open, error, now)
                    continue
                result.limit_results.append((charge, limit_result))
                if not limit_result.is_admitted:
                    result.refused_by, result.is_admitted = charge, False
                    break
            else:
                self._charge_quota(result, cost, now)
        except BackendUnavailable:
            self._refund(result, cost, now)
            raise
        if not result.is_admitted:
            self._refund(result, cost, now)
        return result

    def _charge_quota(self, result: AdmissionResult, cost: int, now: float) -> None:
        charge_plan = result.charge_plan
        if charge_plan.quota is None or self.plans is None:
            return
        try:
            result.quota_result = quota_result = self.plans.quotas.spend(
                charge_plan.quota_holder, charge_plan.quota, now, cost
            )
            result.is_admitted = quota_result.is_admitted
        except BackendUnavailable as error:
            self.fail_open(charge_plan.quota_fails_open, error, now)

    def _refund(self, result: AdmissionResult, cost: int, now: float) -> None:
        """Refund a refused call to the limits that had admitted it. What cannot be refunded now is lost.

        Only the limit that refuses stays in ``result``: the refund makes the numbers of the other limits outdated.
        """
        charged, result.limit_results = (
            result.limit_results,
            [(charge, limit_result) for charge, limit_result in result.limit_results if not limit_result.is_admitted],
        )
        for charge, limit_result in charged:
            if limit_result.is_admitted:
                try:
                    self.limiter.refund(charge.key, limit_result, now, cost)
                except BackendUnavailable:
                    return

    def fail_open(self, fails_open: bool, error: BackendUnavailable, now: float) -> None:
        """Allow a call that cannot be counted, if ``fails_open`` is true; otherwise raise ``error``.

        At most once a second, an allowed call is logged.
        """
        if not fails_open:
            raise error
        if not 0 <= now - self._fail_open_logged_at < 1.0:
            self._fail_open_logged_at = now
            _log.error("the rate limit counters are unavailable, calls are allowed without being counted: %s", error)


def _build_key(route_budget: RouteBudget, limit: RateLimit, endpoint: str, caller: Caller) -> str:
    budget = ("group", limit.group) if limit.group else ("route", endpoint, route_budget.bucket)
    if caller.client_id is None or limit.per == "address":
        return join_key(*budget, "address", caller.network)
    if limit.per == "app":
        return join_key(*budget, "app", caller.client_id)
    return join_key(*budget, "user", caller.client_id, caller.user_id or "")
