"""A row that one process holds for a while: it leads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Executable, bindparam, or_

from .engine.statement import BoundStatement, Statement
from .tables import leases


def _acquire(insert: Any) -> Executable:
    made = insert(leases).values(name=bindparam("name"), holder=bindparam("holder"), until=bindparam("until"))
    statement: Executable = made.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={"holder": made.excluded.holder, "until": made.excluded.until},
        where=or_(leases.c.holder == made.excluded.holder, leases.c.until < bindparam("now")),
    )
    return statement


_ACQUIRE = Statement(_acquire)


def acquire(name: str, holder: str, now: float, until: float) -> BoundStatement:
    """The claim to lead: won where nobody else holds the row, or holds it no longer."""
    return _ACQUIRE(name=name, holder=holder, now=now, until=until)
