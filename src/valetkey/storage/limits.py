"""GCRA's one row for each key: the theoretical arrival time (TAT), moved by one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Executable, Text, bindparam, case, cast, delete, func, select, text, update

from .engine.statement import Bound, Statement
from .engine.store import Store
from .engine.transaction import Write
from .tables import limits

CREATE = Statement(
    text("CREATE TABLE IF NOT EXISTS valetkey_limits (key TEXT PRIMARY KEY, tat REAL NOT NULL) WITHOUT ROWID")
)


def _later(tat: Any, base: Any) -> Any:
    return case((tat > base, tat), else_=base)


def _spend(insert: Any) -> Executable:
    base, cost, latest = (cast(bindparam(name), Double) for name in ("base", "cost", "latest"))
    rows = select(cast(bindparam("key"), Text), (base + cost).label("tat")).where(base + cost <= latest)
    made = insert(limits).from_select(["key", "tat"], rows)
    moved = _later(limits.c.tat, base) + cost
    statement: Executable = made.on_conflict_do_update(
        index_elements=[limits.c.key], set_={"tat": moved}, where=moved <= latest
    ).returning(limits.c.tat)
    return statement


_SPEND = Statement(_spend)
_READ = Statement(select(limits.c.tat).where(limits.c.key == bindparam("key")))
_REFUND = update(limits).where(limits.c.key == bindparam("wanted"))
_REFUND = _REFUND.values(tat=limits.c.tat - bindparam("cost", type_=Double))
_REFUND_ANY = Statement(_REFUND)
_REFUND_LAST = Statement(_REFUND.where(limits.c.tat == cast(bindparam("left"), Double)))
_AT_ONCE = 5000  # keys: who counts waits no longer than for these
_BEHIND = limits.c.key > bindparam("after")
_NEXT = select(limits.c.key).where(_BEHIND).order_by(limits.c.key).limit(bindparam("most")).subquery()
_UP_TO = Statement(select(func.max(_NEXT.c.key)))
_PRUNE = Statement(delete(limits).where(_BEHIND, limits.c.key <= bindparam("last"), limits.c.tat < bindparam("now")))


def spend(key: str, base: float, cost: float, latest: float) -> Bound:
    """``tat = max(tat, base) + cost`` unless that is later than ``latest``; answers the new tat, or no row."""
    return _SPEND(key=key, base=base, cost=cost, latest=latest)


def read(store: Store, key: str) -> float | None:
    row = store.one(_READ(key=key))
    return float(row[0]) if row else None


def refund(key: str, cost: float, tat: float | None) -> Bound:
    """Give back; where ``tat`` is given, only while it is the key's."""
    if tat is None:
        return _REFUND_ANY(wanted=key, cost=cost)
    return _REFUND_LAST(wanted=key, cost=cost, left=tat)


def prune(store: Store, now: float) -> None:
    """Forget the keys whose budget is full again: such a row says no more than no row.

    From key to key, in pieces between which others count.
    """
    after = ""
    while (found := store.one(_UP_TO(after=after, most=_AT_ONCE))) and found[0] is not None:
        store.write(Write(rows=(_PRUNE(after=after, last=found[0], now=now),)))
        after = found[0]
