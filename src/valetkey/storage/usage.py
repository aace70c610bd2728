"""Usage statistics of the API: the number of calls by hour, client, route and HTTP status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, func, select

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import usage

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class HourlyUsage:
    """The number of calls in one hour, by one client to one route, that had the same HTTP status.

    :param hour: whole hours since 1970.
    :param route: method and URL rule, for example ``GET /api/places/<id>``.
    """

    hour: int
    client_id: str
    route: str
    status: int
    calls: int


_KEY_COLUMNS = ("hour", "client_id", "route", "status")


def _add_calls(insert: Any) -> Executable:
    insert_row = insert(usage).values({name: bindparam(name) for name in (*_KEY_COLUMNS, "calls")})
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[usage.c[name] for name in _KEY_COLUMNS],
        set_={"calls": usage.c.calls + insert_row.excluded.calls},
    )
    return statement


_ADD_CALLS = Statement(_add_calls)
_COLUMNS = [usage.c[name] for name in (*_KEY_COLUMNS, "calls")]
_IN_HOURS = (usage.c.hour >= bindparam("first"), usage.c.hour <= bindparam("last"))
_LIST_BETWEEN = Statement(select(*_COLUMNS).where(*_IN_HOURS).order_by(*(usage.c[name] for name in _KEY_COLUMNS)))
_LIST_BETWEEN_OF_CLIENT = Statement(
    select(*_COLUMNS)
    .where(*_IN_HOURS, usage.c.client_id == bindparam("client_id"))
    .order_by(*(usage.c[name] for name in _KEY_COLUMNS))
)
_LIST_TOTALS = Statement(
    select(usage.c.client_id, usage.c.route, usage.c.status, func.sum(usage.c.calls))
    .where(*_IN_HOURS)
    .group_by(usage.c.client_id, usage.c.route, usage.c.status)
    .order_by(usage.c.client_id, usage.c.route, usage.c.status)
)


def add_calls(hourly_usage: HourlyUsage) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds calls to the usage statistics.

    It adds ``hourly_usage.calls`` to the number stored for the same hour, client, route and HTTP status.
    """
    return _ADD_CALLS(**{name: getattr(hourly_usage, name) for name in (*_KEY_COLUMNS, "calls")})


def list_between(store: Store, since: float, until: float, client_id: str | None = None) -> list[HourlyUsage]:
    """Return the number of calls by hour, from the hour that contains ``since`` to the one that contains ``until``.

    Both are seconds since 1970, and both hours are included.

    :param client_id: only this client's usage; ``None`` for all clients.
    """
    hours = {"first": int(since // HOUR_S), "last": int(until // HOUR_S)}
    rows = store.fetch_all(
        _LIST_BETWEEN(**hours) if client_id is None else _LIST_BETWEEN_OF_CLIENT(**hours, client_id=client_id)
    )
    return [HourlyUsage(*row) for row in rows]


def list_totals(store: Store, since: float, until: float) -> list[tuple[str, str, int, int]]:
    """Return tuples of client id, route, HTTP status and total number of calls.

    The totals cover all hours from the one that contains ``since`` to the one that contains ``until`` (seconds since
    1970), both included.
    """
    rows = store.fetch_all(_LIST_TOTALS(first=int(since // HOUR_S), last=int(until // HOUR_S)))
    return [(client_id, route, status, int(calls)) for client_id, route, status, calls in rows]
