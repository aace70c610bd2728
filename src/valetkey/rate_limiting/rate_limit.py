"""``RateLimit``: the rate limit of a route, with options that a string such as ``100/minute`` cannot express."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .limit import Limit, parse_limit

_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]{0,63}")  # used unescaped in header fields and counter keys


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a route may be called, how its callers are counted, and what happens if calls cannot be counted.

    Pass it as ``limit=`` to ``require_oauth``, ``public`` or ``protect``.

    :param limit: calls per period, as ``"100/minute"`` or ``"100/minute burst 20"``; or one such limit per plan, as
        ``{"free": "10/minute", "pro": "100/minute"}``. Plans that are not listed have no per-route limit.
    :param group: name of a budget that all routes with this group share. They must have the same ``limit`` and
        ``per``. If it is omitted, each route has its own budget.
    :param per: what has a budget of its own: each ``"user"`` of each client, each client (``"app"``), or each network
        ``"address"`` (IPv6: each /64 network). A client that acts for itself counts as one user. Calls without a token
        are always counted by address. A new token never starts a new budget.
    :param fail: what happens while the counter backend is unavailable: ``"closed"`` responds with 503, ``"open"``
        allows all calls.
    :raises ValueError: if an argument is invalid; the message says what is allowed.
    """

    limit: str | Mapping[str, str]
    group: str | None = field(default=None, kw_only=True)
    per: Literal["user", "app", "address"] = field(default="user", kw_only=True)
    fail: Literal["closed", "open"] = field(default="closed", kw_only=True)
    _budgets: Mapping[str | None, Limit] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.group is not None and not (isinstance(self.group, str) and _GROUP_NAME.fullmatch(self.group)):
            raise ValueError(f"group must be a name of up to 64 letters, digits, spaces and -_.:/, not {self.group!r}")
        if self.per not in ("user", "app", "address"):
            raise ValueError(f"per must be 'user', 'app' or 'address', not {self.per!r}")
        if self.fail not in ("closed", "open"):
            raise ValueError(f"fail must be 'closed' or 'open', not {self.fail!r}")
        if isinstance(self.limit, Mapping) and not self.limit:
            raise ValueError("a limit per plan must name at least one plan")
        if isinstance(self.limit, Mapping) and any(isinstance(limit, RateLimit) for limit in self.limit.values()):
            raise ValueError('limits per plan must be strings: RateLimit({"free": "10/minute", ...}, group=...)')
        budgets: dict[str | None, Limit] = {}
        if isinstance(self.limit, Mapping):
            budgets |= {plan: parse_limit(text) for plan, text in self.limit.items()}
        else:
            budgets[None] = parse_limit(self.limit)
        object.__setattr__(self, "_budgets", budgets)

    @property
    def is_by_plan(self) -> bool:
        """Whether each plan has a limit of its own, instead of one limit for all callers."""
        return isinstance(self.limit, Mapping)

    @property
    def budgets(self) -> Mapping[str | None, Limit]:
        """The limit of each plan; or one limit for all plans, under the key ``None``."""
        return self._budgets

    def of(self, plan: str | None) -> Limit | None:
        """Return the limit of callers with this plan, or ``None`` if such callers have no limit for the route."""
        return self._budgets.get(plan if self.is_by_plan else None)

    def __str__(self) -> str:
        if isinstance(self.limit, Mapping):
            return ", ".join(f"{plan}: {text}" for plan, text in self.limit.items())
        return self.limit


def parse_rate_limit(limit: str | Mapping[str, str] | RateLimit | None, cost: int) -> RateLimit | None:
    """Return the rate limit that the ``limit`` and ``cost`` arguments of ``require_oauth`` or ``public`` describe.

    :returns: the rate limit, or ``None`` if ``limit`` is ``None``.
    :raises ValueError: if an argument is invalid, or ``cost`` exceeds the burst, so that every call would be refused.
    """
    if isinstance(cost, bool) or not isinstance(cost, int) or cost < 1:
        raise ValueError(f"cost must be a whole number of at least 1, not {cost!r}")
    if limit is None:
        return None
    rate_limit = limit if isinstance(limit, RateLimit) else RateLimit(limit)
    for budget in rate_limit.budgets.values():
        check_cost(cost, budget)
    return rate_limit


def check_cost(cost: int, budget: Limit) -> None:
    """Check that a limit can admit a call that counts as ``cost`` calls.

    :raises ValueError: if the cost exceeds the limit's burst, so that every call would be refused.
    """
    if cost > budget.burst:
        raise ValueError(
            f"cost={cost} exceeds the burst of {budget.burst}, so every call would be refused; add `burst {cost}`"
        )
