"""Named leases: exclusive rights of one process, the holder, to do a task until a certain time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Executable, bindparam, cast, or_, select

from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .tables import leases


def _acquire(insert: Any) -> Executable:
    until = WRITE_TIME + cast(bindparam("duration_s"), Double)
    insert_row = insert(leases).values(name=bindparam("name"), holder=bindparam("holder"), until=until)
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={"holder": insert_row.excluded.holder, "until": insert_row.excluded.until},
        where=or_(leases.c.holder == insert_row.excluded.holder, leases.c.until < WRITE_TIME),
    )
    return statement


_ACQUIRE = Statement(_acquire)
_FIND_ACTIVE = Statement(
    select(leases.c.name).where(leases.c.name == bindparam("wanted"), leases.c.until >= bindparam("now"))
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


def is_active(name: str, store: Store, now: float) -> bool:
    """Return whether some process has the lease with this name at ``now`` (seconds since 1970)."""
    return store.fetch_one(_FIND_ACTIVE(wanted=name, now=now)) is not None
