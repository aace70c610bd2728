"""Rate limit counters by GCRA (generic cell rate algorithm): one row for each counter key.

The row holds the theoretical arrival time (TAT): the time at which the counter's budget is full again. One statement
checks the limit and updates this time. Times are seconds since 1970. A call costs the time that the counter needs to
regain its budget: one second at 60 calls per minute.
"""

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
    first_row = select(cast(bindparam("key"), Text), (base + cost).label("tat")).where(base + cost <= latest)
    insert_row = insert(limits).from_select(["key", "tat"], first_row)
    new_tat = _later_of(limits.c.tat, base) + cost
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[limits.c.key], set_={"tat": new_tat}, where=new_tat <= latest
    ).returning(limits.c.tat)
    return statement


_SPEND = Statement(_spend)
_READ = Statement(select(limits.c.tat).where(limits.c.key == bindparam("key")))
_REFUND = update(limits).where(limits.c.key == bindparam("wanted"))
_REFUND = _REFUND.values(tat=limits.c.tat - bindparam("cost", type_=Double))
_REFUND_ALWAYS = Statement(_REFUND)
_REFUND_IF_TAT_UNCHANGED = Statement(_REFUND.where(limits.c.tat == cast(bindparam("left"), Double)))
_MAX_KEYS_PER_BATCH = 5000  # keys in one write of `prune`: bounds how long it blocks requests that count
_IS_AFTER_KEY = limits.c.key > bindparam("after")
_NEXT_KEYS = select(limits.c.key).where(_IS_AFTER_KEY).order_by(limits.c.key).limit(bindparam("most")).subquery()
_FIND_LAST_KEY_OF_BATCH = Statement(select(func.max(_NEXT_KEYS.c.key)))
_PRUNE = Statement(
    delete(limits).where(_IS_AFTER_KEY, limits.c.key <= bindparam("last"), limits.c.tat < bindparam("now"))
)


def spend(key: str, base: float, cost: float, latest: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that charges a call to a rate limit counter.

    It sets the counter's theoretical arrival time to ``max(tat, base) + cost``, or to ``base + cost`` for a new key.
    Its result is one row with the new time. If that would be later than ``latest``, the limit is exceeded:
    nothing changes, and the result has no row.

    :param key: key of the counter.
    :param base: earliest value to add the cost to (seconds since 1970).
    :param cost: cost of the call in seconds.
    :param latest: latest theoretical arrival time that the limit allows (seconds since 1970).
    """
    return _SPEND(key=key, base=base, cost=cost, latest=latest)


def read(store: Store, key: str) -> float | None:
    """Return the theoretical arrival time (TAT) of a rate limit counter, or ``None`` if it has no row."""
    row = store.fetch_one(_READ(key=key))
    return float(row[0]) if row else None


def refund(key: str, cost: float, expected_tat: float | None) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that refunds a call to a rate limit counter.

    :param key: key of the counter.
    :param cost: cost of the call in seconds.
    :param expected_tat: change nothing unless the counter's theoretical arrival time still has this value; ``None`` for
        any value.
    """
    if expected_tat is None:
        return _REFUND_ALWAYS(wanted=key, cost=cost)
    return _REFUND_IF_TAT_UNCHANGED(wanted=key, cost=cost, left=expected_tat)


def prune(store: Store, now: float) -> None:
    """Remove the rate limit counters whose budget is full again: such a row has the same meaning as no row.

    They are removed in batches in the order of their keys, so that requests can be counted between two batches.

    :raises StoreUnavailable: if the store cannot be read or written.
    """
    after = ""
    while (row := store.fetch_one(_FIND_LAST_KEY_OF_BATCH(after=after, most=_MAX_KEYS_PER_BATCH))) and row[
        0
    ] is not None:
        store.write(Transaction(rows=(_PRUNE(after=after, last=row[0], now=now),)))
        after = row[0]
