"""What a route says of its limit: ``RateLimit``, for what a text alone cannot say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .limit import Limit, parse_limit

_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]{0,63}")  # goes into header fields and keys as it is


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a route may be called, by whom it is counted, and what happens where nobody can count.

    :param limit: ``100/minute``, ``100/minute burst 20``; or one for each plan,
        ``{"free": "10/minute", "pro": "100/minute"}``: a plan that is not named has no limit of this kind.
    :param group: the name of one budget that all routes of the group share; none: each route has its own.
    :param per: whose budget it is: each ``user`` of each app (an app that acts for itself counts as one), each
        ``app``, or each ``address`` (IPv6 by /64). Callers without a token are counted by address. Never the token.
    :param fail: while the counters' store is down: ``closed`` answers 503, ``open`` lets all calls through.
    :raises ValueError: with a sentence, where that cannot be read.
    """

    limit: str | Mapping[str, str]
    group: str | None = field(default=None, kw_only=True)
    per: Literal["user", "app", "address"] = field(default="user", kw_only=True)
    fail: Literal["closed", "open"] = field(default="closed", kw_only=True)
    _budgets: Mapping[str | None, Limit] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.group is not None and not (isinstance(self.group, str) and _GROUP_NAME.fullmatch(self.group)):
            raise ValueError(f"a group's name is up to 64 letters, digits, spaces and -_.:/, not {self.group!r}")
        if self.per not in ("user", "app", "address"):
            raise ValueError(f"per must be 'user', 'app' or 'address', not {self.per!r}")
        if self.fail not in ("closed", "open"):
            raise ValueError(f"fail must be 'closed' or 'open', not {self.fail!r}")
        if isinstance(self.limit, Mapping) and not self.limit:
            raise ValueError("a limit by plan names at least one plan")
        if isinstance(self.limit, Mapping) and any(isinstance(one, RateLimit) for one in self.limit.values()):
            raise ValueError('a limit by plan is RateLimit({"free": "10/minute", ...}, group=...), with texts in it')
        budgets: dict[str | None, Limit] = {}
        if isinstance(self.limit, Mapping):
            budgets |= {plan: parse_limit(text) for plan, text in self.limit.items()}
        else:
            budgets[None] = parse_limit(self.limit)
        object.__setattr__(self, "_budgets", budgets)

    @property
    def is_by_plan(self) -> bool:
        return isinstance(self.limit, Mapping)

    @property
    def budgets(self) -> Mapping[str | None, Limit]:
        """The budget of each plan; where all have the same, under None."""
        return self._budgets

    def of(self, plan: str | None) -> Limit | None:
        """The budget of callers who have this plan; None: no limit."""
        return self._budgets.get(plan if self.is_by_plan else None)

    def __str__(self) -> str:
        if isinstance(self.limit, Mapping):
            return ", ".join(f"{plan}: {text}" for plan, text in self.limit.items())
        return self.limit


def parse_rate_limit(limit: str | Mapping[str, str] | RateLimit | None, cost: int) -> RateLimit | None:
    """The limit that a decorator was given.

    :raises ValueError: where it cannot be read, or where a call could never pay its ``cost``.
    """
    if not (isinstance(cost, int) and cost >= 1):
        raise ValueError(f"cost is a whole number, 1 or more, not {cost!r}")
    if limit is None:
        return None
    read = limit if isinstance(limit, RateLimit) else RateLimit(limit)
    for budget in read.budgets.values():
        check_cost(cost, budget)
    return read


def check_cost(cost: int, budget: Limit) -> None:
    """:raises ValueError: where so dear a call could never be paid."""
    if cost > budget.burst:
        raise ValueError(f"cost={cost} can never be paid: the limit takes {budget.burst} at once; add `burst {cost}`")
