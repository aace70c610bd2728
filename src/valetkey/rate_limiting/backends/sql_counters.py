"""Rate limit counters in SQL databases. A separate module, since a ``ResourceServer`` does not import SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valetkey.rate_limiting.limit import MAX_CLOCK_OFFSET_S
from valetkey.storage import limits
from valetkey.storage.engine.open import open_counter_store
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction

from .byte_lock import can_lock_bytes
from .counters import Counters, Spend, SpendResult
from .mapped_counters import MappedCounters


class SqlCounters(Counters):
    """Rate limit counters in a table with one row per counter, in PostgreSQL or in a separate SQLite file.

    :param table: the table that has the counters.
    """

    def __init__(self, store: Store, table: limits.CounterTable = limits.LIMITS) -> None:
        self._store = store
        self._table = table

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        row = self._store.fetch_one(self._table.spend(key, min_tat, cost_s, max_tat, max_tat + MAX_CLOCK_OFFSET_S))
        if row is not None:
            return True, float(row[0])
        tat = self._table.read(self._store, key)
        return False, min_tat if tat is None else tat

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        """Count several calls in one statement. PostgreSQL only."""
        calls = [
            {"key": key, "base": base, "cost": cost, "latest": latest, "ceiling": latest + MAX_CLOCK_OFFSET_S}
            for key, base, cost, latest in spends
        ]
        new_tats: dict[str, float] = dict(map(tuple, self._store.fetch_all(self._table.spend_all(calls))))
        refused = [spend.key for spend in spends if spend.key not in new_tats]
        tats = self._table.read_all(self._store, refused) if refused else {}
        return [
            (True, new_tats[spend.key]) if spend.key in new_tats else (False, tats.get(spend.key, spend.min_tat))
            for spend in spends
        ]

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return self._store.write(Transaction(condition=self._table.refund(key, cost_s, expected_tat)))

    def read(self, key: str, default: float) -> float:
        tat = self._table.read(self._store, key)
        return default if tat is None else tat

    def prune(self, now: float) -> None:
        self._table.prune(self._store, now)

    def close(self) -> None:
        self._store.close()


def open_local_counters(path: Path) -> Counters:
    """Return rate limit counters for the processes of one machine, in files beside each other.

    :param path: path of the SQLite file. On Linux, a memory-mapped file of the same name without ``.db`` has the
        counters, and the SQLite file only those that do not fit.
    """
    counters = SqliteCounters(path)
    return MappedCounters(path.with_suffix(""), counters) if can_lock_bytes() else counters


class SqliteCounters(SqlCounters):
    """Rate limit counters in a SQLite file beside the database file. File and table are created on first use."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_counter_store(path))
        self._has_table = False

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        self._create_table()
        return super().spend(key, min_tat, cost_s, max_tat)

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        return [self.spend(*spend) for spend in spends]

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        self._create_table()
        return super().refund(key, cost_s, expected_tat)

    def read(self, key: str, default: float) -> float:
        self._create_table()
        return super().read(key, default)

    def prune(self, now: float) -> None:
        self._create_table()
        super().prune(now)

    def _create_table(self) -> None:
        if not self._has_table:
            self._store.fetch_all(limits.CREATE_TABLE())
            self._has_table = True
