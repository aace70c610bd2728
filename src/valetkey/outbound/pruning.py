"""Deletes expired rows from all tables, in small transactions."""

from __future__ import annotations

from functools import partial

from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.pruning import MAX_ROWS_PER_BATCH, prune_statements

from .isolation import run_isolated

_MAX_BATCHES = 200  # of one table in one round: a million rows


def prune(store: Store, now: float, audit_retention_days: int = 0) -> tuple[dict[str, int], set[str]]:
    """Delete expired rows from all tables.

    Return how many rows were deleted, by name of the table, and the names of tables that could not be pruned. If one
    cannot be pruned, log an error and continue with the next one.

    :param audit_retention_days: days for which the audit log is retained; 0: no limit.
    """
    deleted, failed = dict[str, int](), set[str]()
    for table, count_statement, delete_statement in prune_statements(now, audit_retention_days):
        deleted.setdefault(table, 0)  # the audit log is pruned twice
        prune_table = partial(_prune_table, store, table, count_statement, delete_statement, deleted)
        if not run_isolated(f"pruning {table}", prune_table):
            failed.add(table)
    return deleted, failed


def _prune_table(
    store: Store, table: str, count_statement: BoundStatement, delete_statement: BoundStatement, deleted: dict[str, int]
) -> None:
    """Delete the expired rows of one table, and add their number to ``deleted``."""
    for _ in range(_MAX_BATCHES):  # small transactions, so that others can write in between
        (count,) = store.fetch_one(count_statement) or (0,)
        if count:
            store.write(Transaction(rows=(delete_statement,)))
        deleted[table] += count
        if count < MAX_ROWS_PER_BATCH:
            break
