"""How often each app called each route, by status and hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, func, select

from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import usage

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Used:
    """``hour`` is in whole hours since 1970; ``route`` is ``GET /api/places/<id>``."""

    hour: int
    client_id: str
    route: str
    status: int
    calls: int


_KEY = ("hour", "client_id", "route", "status")


def _count(insert: Any) -> Executable:
    made = insert(usage).values({name: bindparam(name) for name in (*_KEY, "calls")})
    statement: Executable = made.on_conflict_do_update(
        index_elements=[usage.c[name] for name in _KEY], set_={"calls": usage.c.calls + made.excluded.calls}
    )
    return statement


_COUNT = Statement(_count)
_COLUMNS = [usage.c[name] for name in (*_KEY, "calls")]
_RANGE = (usage.c.hour >= bindparam("first"), usage.c.hour <= bindparam("last"))
_OF_ALL = Statement(select(*_COLUMNS).where(*_RANGE).order_by(*(usage.c[name] for name in _KEY)))
_OF_ONE = Statement(
    select(*_COLUMNS)
    .where(*_RANGE, usage.c.client_id == bindparam("client_id"))
    .order_by(*(usage.c[name] for name in _KEY))
)
_TOTALS = Statement(
    select(usage.c.client_id, usage.c.route, usage.c.status, func.sum(usage.c.calls))
    .where(*_RANGE)
    .group_by(usage.c.client_id, usage.c.route, usage.c.status)
    .order_by(usage.c.client_id, usage.c.route, usage.c.status)
)


def count(used: Used) -> Bound:
    """Add calls to what is counted of that hour."""
    return _COUNT(**{name: getattr(used, name) for name in (*_KEY, "calls")})


def between(store: Store, since: float, until: float, client_id: str | None = None) -> list[Used]:
    """What was counted in the hours that hold these moments, of one app or of all."""
    hours = {"first": int(since // HOUR), "last": int(until // HOUR)}
    rows = store.all(_OF_ALL(**hours) if client_id is None else _OF_ONE(**hours, client_id=client_id))
    return [Used(*row) for row in rows]


def totals(store: Store, since: float, until: float) -> list[tuple[str, str, int, int]]:
    """App, route, status and calls, over the hours that hold these moments."""
    rows = store.all(_TOTALS(first=int(since // HOUR), last=int(until // HOUR)))
    return [(client_id, route, status, int(calls)) for client_id, route, status, calls in rows]
