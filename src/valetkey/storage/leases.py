"""Named leases: exclusive rights of one process, the holder, to do a task until a certain time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Executable, bindparam, or_

from .engine.statement import BoundStatement, Statement
from .tables import leases


def _acquire(insert: Any) -> Executable:
    insert_row = insert(leases).values(name=bindparam("name"), holder=bindparam("holder"), until=bindparam("until"))
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={"holder": insert_row.excluded.holder, "until": insert_row.excluded.until},
        where=or_(leases.c.holder == insert_row.excluded.holder, leases.c.until < bindparam("now")),
    )
    return statement


_ACQUIRE = Statement(_acquire)


def acquire(name: str, holder: str, now: float, until: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that acquires or extends a lease.

    A lease is the exclusive right of one process to do a task. The statement succeeds if there is no lease with this
    name, if ``holder`` has it already, or if another holder's lease has ended.

    :param name: name of the task.
    :param holder: id of the process.
    :param until: when the lease ends (seconds since 1970).
    """
    return _ACQUIRE(name=name, holder=holder, now=now, until=until)
