"""Rate limit counters by GCRA (generic cell rate algorithm): one row for each counter key.

There are two tables. ``valetkey_limits`` has the counters that must survive a crash: they bound how often somebody may
guess a password or a code. ``valetkey_route_limits`` has those of API routes and plans. It is an unlogged table on
PostgreSQL, so that an API call does not wait for the disk; after a crash of the database, budgets are full again.

The row holds the theoretical arrival time (TAT): the time at which the counter's budget is full again. One statement
checks the limit and updates this time. Times are seconds since 1970. A call costs the time that the counter needs to
regain its budget: one second at 60 calls per minute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    Double,
    Executable,
    Table,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    select,
    text,
    update,
)

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .tables import limits, route_limits

CREATE_TABLE = Statement(
    text("CREATE TABLE IF NOT EXISTS valetkey_limits (key TEXT PRIMARY KEY, tat REAL NOT NULL) WITHOUT ROWID")
)


# As ``_spend``, for several counters. They are locked in the order of their keys, or two processes could wait for each
# other (a deadlock). One JSON parameter takes 40 us less than five arrays.
_SPEND_ALL = """
WITH call AS (
    SELECT * FROM json_to_recordset(CAST(:calls AS json))
    AS call(key text, base float8, cost float8, latest float8, ceiling float8)
)
INSERT INTO COUNTERS (key, tat)
SELECT key, base + cost FROM call WHERE base + cost <= latest ORDER BY key
ON CONFLICT (key) DO UPDATE SET tat = (
    SELECT CASE WHEN COUNTERS.tat BETWEEN base AND ceiling THEN COUNTERS.tat ELSE base END + cost
    FROM call WHERE call.key = COUNTERS.key
)
WHERE (
    SELECT CASE WHEN COUNTERS.tat BETWEEN base AND ceiling THEN COUNTERS.tat ELSE base END + cost <= latest
    FROM call WHERE call.key = COUNTERS.key
)
RETURNING key, tat
"""
_MAX_KEYS_PER_BATCH = 5000  # keys in one write of `prune`: bounds how long it blocks requests that count


class CounterTable:
    """The SQL statements for a table of rate limit counters.

    :param table: a table with the columns ``key`` and ``tat``.
    """

    def __init__(self, table: Table) -> None:
        key, tat = table.c.key, table.c.tat
        self._spend = Statement(partial(_spend, table))
        self._spend_all = Statement({"postgresql": text(_SPEND_ALL.replace("COUNTERS", table.name))})
        self._read = Statement(select(tat).where(key == bindparam("key")))
        self._read_all = Statement(select(key, tat).where(key == func.any(cast(bindparam("keys"), ARRAY(Text)))))
        refund = update(table).where(key == bindparam("wanted")).values(tat=tat - bindparam("cost", type_=Double))
        self._refund_always = Statement(refund)
        self._refund_if_tat_unchanged = Statement(refund.where(tat == cast(bindparam("left"), Double)))
        is_after_key = key > bindparam("after")
        next_keys = select(key).where(is_after_key).order_by(key).limit(bindparam("most")).subquery()
        self._find_last_key_of_batch = Statement(select(func.max(next_keys.c.key)))
        full = select(key).where(is_after_key, key <= bindparam("last"), tat < bindparam("now"))
        # A counter that is being changed is left: to wait for it, while others are locked, might be a deadlock.
        self._prune = Statement(delete(table).where(key.in_(full.with_for_update(skip_locked=True))))

    def spend(self, key: str, base: float, cost: float, latest: float, ceiling: float) -> BoundStatement:
        """Return the SQL statement, not yet run, that charges a call to a rate limit counter.

        It sets the counter's theoretical arrival time to ``max(tat, base) + cost``, or to ``base + cost`` for a new
        key. Its result is one row with the new time. If that would be later than ``latest``, the limit is exceeded:
        nothing changes, and the result has no row.

        :param key: key of the counter.
        :param base: earliest value to add the cost to (seconds since 1970).
        :param cost: cost of the call in seconds.
        :param latest: latest theoretical arrival time that the limit allows (seconds since 1970).
        :param ceiling: a counter that is later than this is treated as new: it was written while a clock was fast.
        """
        return self._spend(key=key, base=base, cost=cost, latest=latest, ceiling=ceiling)

    def spend_all(self, calls: Sequence[Mapping[str, object]]) -> BoundStatement:
        """Return the SQL statement, not yet run, that charges several calls to counters with different keys.

        PostgreSQL only. Its result has the key and the new time of each counter whose limit is not exceeded.

        :param calls: the arguments of ``spend`` for each call, by name.
        """
        return self._spend_all(calls=json.dumps(calls))

    def read_all(self, store: Store, keys: Sequence[str]) -> dict[str, float]:
        """Return the theoretical arrival time (TAT) of each of these counters that has a row. PostgreSQL only."""
        return {key: float(tat) for key, tat in store.fetch_all(self._read_all(keys=list(keys)))}

    def read(self, store: Store, key: str) -> float | None:
        """Return the theoretical arrival time (TAT) of a rate limit counter, or ``None`` if it has no row."""
        row = store.fetch_one(self._read(key=key))
        return float(row[0]) if row else None

    def refund(self, key: str, cost: float, expected_tat: float | None) -> BoundStatement:
        """Return the SQL statement, to be run as a transaction's condition, that refunds a call to a counter.

        :param key: key of the counter.
        :param cost: cost of the call in seconds.
        :param expected_tat: change nothing unless the counter's theoretical arrival time still has this value; ``None``
            for any value.
        """
        if expected_tat is None:
            return self._refund_always(wanted=key, cost=cost)
        return self._refund_if_tat_unchanged(wanted=key, cost=cost, left=expected_tat)

    def prune(self, store: Store, now: float) -> None:
        """Remove the counters whose budget is full again: such a row has the same meaning as no row.

        They are removed in batches in the order of their keys, so that requests can be counted between two batches.

        :raises StoreUnavailable: if the store cannot be read or written.
        """
        find_last, after = self._find_last_key_of_batch, ""
        while (row := store.fetch_one(find_last(after=after, most=_MAX_KEYS_PER_BATCH))) and row[0] is not None:
            store.write(Transaction(rows=(self._prune(after=after, last=row[0], now=now),)))
            after = row[0]


def _spend(table: Table, insert: Any) -> Executable:
    base, cost, latest, ceiling = (cast(bindparam(name), Double) for name in ("base", "cost", "latest", "ceiling"))
    first_row = select(cast(bindparam("key"), Text), (base + cost).label("tat")).where(base + cost <= latest)
    insert_row = insert(table).from_select(["key", "tat"], first_row)
    new_tat = case((table.c.tat.between(base, ceiling), table.c.tat), else_=base) + cost
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[table.c.key], set_={"tat": new_tat}, where=new_tat <= latest
    ).returning(table.c.tat)
    return statement


LIMITS = CounterTable(limits)
ROUTE_LIMITS = CounterTable(route_limits)
