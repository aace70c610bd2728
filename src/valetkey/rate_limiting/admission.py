"""May this call be let through, by the numbers? The route's limit, the plan's limit and the plan's quota together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from valetkey.storage.engine.transaction import StoreUnavailable

from .limit import Limit
from .limiter import Limiter, Spent
from .rate_limit import RateLimit

if TYPE_CHECKING:  # a resource server alone has no plans, and imports no database
    from .limit_settings import PlanBudget
    from .quota import Quota
    from .quotas import Quotas, QuotaSpent

Style = Literal["ietf", "legacy", "both", "off"]  # of the RateLimit fields
_MOST_GATES = 20_000
_MOST_OPENED = 5_000  # each keeps a token, also one that is over
_log = logging.getLogger("valetkey")


class Asked(Protocol):
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
        object.__setattr__(self, "policy", f'"{self.name}";q={self.limit.n};w={self.limit.period}')


@dataclass(slots=True)
class Gate:
    """All that one caller's call of one route is charged to."""

    asked: Asked
    plan: str | None  # of the caller, then
    charges: tuple[Charge, ...]
    quota: Quota | None
    quota_holder: str
    quota_fails_open: bool
    counts: bool = field(init=False)  # whether a call is charged to anything
    only: Charge | None = field(init=False)  # where there is but one budget, and no quota

    def __post_init__(self) -> None:
        self.counts = bool(self.charges) or self.quota is not None
        self.only = self.charges[0] if len(self.charges) == 1 and self.quota is None else None


@dataclass(slots=True)
class Counted:
    """What the numbers say of one call."""

    gate: Gate
    spent: list[tuple[Charge, Spent]]
    quota: QuotaSpent | None = None
    refused: Charge | None = None  # the limit that says no
    is_admitted: bool = True

    @property
    def retry_after(self) -> float:
        """Seconds; 0 where the call is admitted."""
        if self.quota is not None and not self.quota.admitted:
            return self.quota.reset
        return 0.0 if self.refused is None else self.spent[-1][1].retry_after


class Plans:
    """The budgets of plans, which app has which plan, and where quotas are counted.

    :param default: the plan of whoever has no other; strangers have its limits of routes, and none of its own.
    """

    def __init__(
        self, budgets: Mapping[str, PlanBudget], default: str, plan_of: Callable[[str, float], str], quotas: Quotas
    ) -> None:
        self.budgets = budgets
        self.default = default
        self.plan_of = plan_of
        self.quotas = quotas


class Admission:
    """Charges calls. A refused call is charged nothing, by whichever number it was refused."""

    def __init__(self, limiter: Limiter, plans: Plans | None = None, *, fields: Style = "ietf") -> None:
        self.limiter = limiter
        self.fields: Style = fields
        self.plans = plans if plans is not None and plans.budgets else None
        self._gates: dict[tuple[Asked, str, str | None, Caller], Gate] = {}
        self.opened: dict[tuple[object, Asked, str], Gate] = {}  # by the token that opened a route, and its endpoint
        self._told_open_at = 0.0

    def plan_of(self, client_id: str | None, now: float) -> str | None:
        """The caller's plan; None where there are no plans, and for strangers.

        :raises StoreUnavailable: where it must be read, and cannot.
        """
        return None if self.plans is None or client_id is None else self.plans.plan_of(client_id, now)

    def count(self, gate: Gate, now: float) -> Counted:
        """Charge one call.

        :raises StoreUnavailable: where the counters cannot be reached, and a limit fails closed.
        """
        cost = gate.asked.cost
        return self._standing_refusal(gate, cost, now) or self._charge(gate, cost, now)

    def find_gate(self, asked: Asked, endpoint: str, plan: str | None, caller: Caller) -> Gate:
        """The gate as it was worked out once for all such calls."""
        key = (asked, endpoint, plan, caller)
        gate = self._gates.get(key)
        if gate is None:
            if len(self._gates) >= _MOST_GATES:
                self._gates.clear()
            gate = self._gates[key] = self.gate(asked, endpoint, plan, caller)
        return gate

    def remember(self, token: object, endpoint: str, gate: Gate) -> None:
        """Find the gate in ``opened`` from now on: the token opens the route, whenever it is still good."""
        if len(self.opened) >= _MOST_OPENED:
            self.opened.clear()
        self.opened[token, gate.asked, endpoint] = gate

    def gate(self, asked: Asked, endpoint: str, plan: str | None, caller: Caller) -> Gate:
        """What this caller's call of this route is charged to."""
        charges = []
        routes_plan = self.plans.default if plan is None and self.plans is not None else plan
        if asked.limit is not None and (limit := asked.limit.of(routes_plan)) is not None:
            name, key = asked.limit.group or "default", _key(asked, asked.limit, endpoint, caller)
            charges.append(Charge(name, key, limit, asked.limit.fail == "open"))
        budget = self.plans.budgets[plan] if self.plans is not None and plan is not None else None
        if budget is None:
            return Gate(asked, plan, tuple(charges), None, "", False)
        holder = caller.client_id or ""
        if budget.limit is not None:
            charges.append(Charge(f"plan-{plan}", f"plan|{plan}|{holder}", budget.limit, budget.fails_open))
        return Gate(asked, plan, tuple(charges), budget.quota, holder, budget.fails_open)

    def _standing_refusal(self, gate: Gate, cost: int, now: float) -> Counted | None:
        """The refusal that is known before anything is charged."""
        if gate.quota is not None and self.plans is not None:
            quota = self.plans.quotas.refusal(gate.quota_holder, gate.quota, now, cost)
            if quota is not None:
                return Counted(gate, [], quota, None, False)
        for charge in gate.charges:
            spent = self.limiter.refusal(charge.key, charge.limit, now, cost)
            if spent is not None:
                return Counted(gate, [(charge, spent)], None, charge, False)
        return None

    def _charge(self, gate: Gate, cost: int, now: float) -> Counted:
        counted = Counted(gate, [])
        try:
            for charge in gate.charges:
                try:
                    spent = self.limiter.spend(charge.key, charge.limit, now, cost)
                except StoreUnavailable as problem:
                    self.let_through(charge.fails_open, problem, now)
                    continue
                counted.spent.append((charge, spent))
                if not spent.admitted:
                    counted.refused, counted.is_admitted = charge, False
                    break
            else:
                self._take(counted, cost, now)
        except StoreUnavailable:
            self._undo(counted, cost, now)
            raise
        if not counted.is_admitted:
            self._undo(counted, cost, now)
        return counted

    def _take(self, counted: Counted, cost: int, now: float) -> None:
        gate = counted.gate
        if gate.quota is None or self.plans is None:
            return
        try:
            counted.quota = quota = self.plans.quotas.take(gate.quota_holder, gate.quota, now, cost)
            counted.is_admitted = quota.admitted
        except StoreUnavailable as problem:
            self.let_through(gate.quota_fails_open, problem, now)

    def _undo(self, counted: Counted, cost: int, now: float) -> None:
        """Give back what a call was charged that is refused after all; what cannot be given back now is lost.

        Only the one that refuses is told: what the others say is no longer so.
        """
        charged, counted.spent = counted.spent, [one for one in counted.spent if not one[1].admitted]
        for charge, spent in charged:
            if spent.admitted:
                try:
                    self.limiter.undo(charge.key, spent, now, cost)
                except StoreUnavailable:
                    return

    def let_through(self, fails_open: bool, problem: StoreUnavailable, now: float) -> None:
        """While nobody can count: go on, told in the log once a second; or raise the problem."""
        if not fails_open:
            raise problem
        if not 0 <= now - self._told_open_at < 1.0:
            self._told_open_at = now
            _log.error("limits are not counted now, calls are let through: %s", problem)


def _key(asked: Asked, limit: RateLimit, endpoint: str, caller: Caller) -> str:
    where = f"group|{limit.group}" if limit.group else f"{endpoint}|{asked.bucket}"
    if caller.client_id is None or limit.per == "address":
        return f"{where}|address|{caller.network}"
    if limit.per == "app":
        return f"{where}|app|{caller.client_id}"
    return f"{where}|{caller.client_id}|{caller.user_id or ''}"
