"""Named leases: a row says which process does a task, and until when."""

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
    """Return the conditional write that acquires or extends a lease.

    It succeeds if there is no such lease, if ``holder`` has it already, or if another holder's lease has ended.

    :param until: when the lease ends (seconds since 1970).
    """
    return _ACQUIRE(name=name, holder=holder, now=now, until=until)
