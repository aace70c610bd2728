"""Named leases: exclusive rights of one process, the holder, to do a task until a certain time.

A lease that ends later than any lease can that begins now was stored while a clock was ahead. It counts as ended, or
the task would not be done until then.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Double, Executable, bindparam, cast, delete, not_, or_, select

from .engine.clock import CLOCK_MARGIN_S
from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .tables import leases


def has_ended(until: ColumnElement[float], now: ColumnElement[float], duration_s: Any) -> ColumnElement[bool]:
    """Return the SQL condition that a lease has ended.

    :param until: column with the end of the lease, in seconds since 1970.
    :param duration_s: how long a lease is for this task, in seconds: a number or an SQL expression.
    """
    return or_(until < now, until > now + duration_s + CLOCK_MARGIN_S)


_DURATION_S = cast(bindparam("duration_s"), Double)


def _acquire(insert: Any) -> Executable:
    until = WRITE_TIME + _DURATION_S
    insert_row = insert(leases).values(name=bindparam("name"), holder=bindparam("holder"), until=until)
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={"holder": insert_row.excluded.holder, "until": insert_row.excluded.until},
        where=or_(leases.c.holder == insert_row.excluded.holder, has_ended(leases.c.until, WRITE_TIME, _DURATION_S)),
    )
    return statement


_ACQUIRE = Statement(_acquire)
_FIND_ACTIVE = Statement(
    select(leases.c.name).where(
        leases.c.name == bindparam("wanted"),
        not_(has_ended(leases.c.until, cast(bindparam("now"), Double), _DURATION_S)),
    )
)

_RELEASE = Statement(
    delete(leases).where(leases.c.name == bindparam("wanted"), leases.c.holder == bindparam("of_holder"))
)


def acquire(name: str, holder: str, duration_s: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that acquires or extends a lease.

    A lease is the exclusive right of one process to do a task. The statement succeeds if there is no lease with this
    name, if ``holder`` has it already, or if another holder's lease has ended.

    :param name: name of the task.
    :param holder: id of the process.
    :param duration_s: seconds after the write when the lease ends.
    """
    return _ACQUIRE(name=name, holder=holder, duration_s=duration_s)


def release(name: str, holder: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that ends a lease, so that another process can do the task at once.

    It changes nothing if another process has the lease.
    """
    return _RELEASE(wanted=name, of_holder=holder)


def is_active(name: str, store: Store, now: float, duration_s: float) -> bool:
    """Return whether some process has the lease with this name at ``now`` (seconds since 1970).

    :param duration_s: how long a lease with this name is, in seconds.
    """
    return store.fetch_one(_FIND_ACTIVE(wanted=name, now=now, duration_s=duration_s)) is not None
