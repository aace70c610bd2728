"""GCRA's one row for each key: the theoretical arrival time (TAT), moved by one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Executable, Text, bindparam, case, cast, delete, func, select, text, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .tables import limits

CREATE_TABLE = Statement(
    text("CREATE TABLE IF NOT EXISTS valetkey_limits (key TEXT PRIMARY KEY, tat REAL NOT NULL) WITHOUT ROWID")
)


def _later_of(tat: Any, base: Any) -> Any:
    return case((tat > base, tat), else_=base)


def _spend(insert: Any) -> Executable:
    base, cost, latest = (cast(bindparam(name), Double) for name in ("base", "cost", "latest"))
    rows = select(cast(bindparam("key"), Text), (base + cost).label("tat")).where(base + cost <= latest)
    made = insert(limits).from_select(["key", "tat"], rows)
    moved = _later_of(limits.c.tat, base) + cost
    statement: Executable = made.on_conflict_do_update(
        index_elements=[limits.c.key], set_={"tat": moved}, where=moved <= latest
    ).returning(limits.c.tat)
    return statement


_SPEND = Statement(_spend)
_READ = Statement(select(limits.c.tat).where(limits.c.key == bindparam("key")))
_REFUND = update(limits).where(limits.c.key == bindparam("wanted"))
_REFUND = _REFUND.values(tat=limits.c.tat - bindparam("cost", type_=Double))
_REFUND_ALWAYS = Statement(_REFUND)
_REFUND_IF_TAT_UNCHANGED = Statement(_REFUND.where(limits.c.tat == cast(bindparam("left"), Double)))
_MAX_KEYS_PER_BATCH = 5000  # keys: who counts waits no longer than for these
_IS_AFTER_KEY = limits.c.key > bindparam("after")
_NEXT_KEYS = select(limits.c.key).where(_IS_AFTER_KEY).order_by(limits.c.key).limit(bindparam("most")).subquery()
_FIND_LAST_KEY_OF_BATCH = Statement(select(func.max(_NEXT_KEYS.c.key)))
_PRUNE = Statement(
    delete(limits).where(_IS_AFTER_KEY, limits.c.key <= bindparam("last"), limits.c.tat < bindparam("now"))
)


def spend(key: str, base: float, cost: float, latest: float) -> BoundStatement:
    """``tat = max(tat, base) + cost`` unless that is later than ``latest``; answers the new tat, or no row."""
    return _SPEND(key=key, base=base, cost=cost, latest=latest)


def read(store: Store, key: str) -> float | None:
    row = store.fetch_one(_READ(key=key))
    return float(row[0]) if row else None


def refund(key: str, cost: float, expected_tat: float | None) -> BoundStatement:
    """Give back; where ``tat`` is given, only while it is the key's."""
    if expected_tat is None:
        return _REFUND_ALWAYS(wanted=key, cost=cost)
    return _REFUND_IF_TAT_UNCHANGED(wanted=key, cost=cost, left=expected_tat)


def prune(store: Store, now: float) -> None:
    """Forget the keys whose budget is full again: such a row says no more than no row.

    From key to key, in pieces between which others count.
    """
    after = ""
    while (found := store.fetch_one(_FIND_LAST_KEY_OF_BATCH(after=after, most=_MAX_KEYS_PER_BATCH))) and found[
        0
    ] is not None:
        store.write(Transaction(rows=(_PRUNE(after=after, last=found[0], now=now),)))
        after = found[0]
