"""Counting in a database: what a resource server alone, which may have none, does not import."""

from __future__ import annotations

from pathlib import Path

from valetkey.storage import limits
from valetkey.storage.engine.open import open_counters
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Write


class SqlCounters:
    """One row for each key, in PostgreSQL or in a SQLite file of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        row = self._store.one(limits.spend(key, base, cost, latest))
        if row is not None:
            return True, float(row[0])
        tat = limits.read(self._store, key)
        return False, base if tat is None else tat

    def refund(self, key: str, cost: float, tat: float | None) -> bool:
        return self._store.write(Write(claim=limits.refund(key, cost, tat)))

    def read(self, key: str, default: float) -> float:
        tat = limits.read(self._store, key)
        return default if tat is None else tat

    def prune(self, now: float) -> None:
        limits.prune(self._store, now)

    def close(self) -> None:
        self._store.close()


class SqliteCounters(SqlCounters):
    """A file beside the SQLite store; made when it is first needed."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_counters(path))
        self._ready = False

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        self._make()
        return super().spend(key, base, cost, latest)

    def refund(self, key: str, cost: float, tat: float | None) -> bool:
        self._make()
        return super().refund(key, cost, tat)

    def read(self, key: str, default: float) -> float:
        self._make()
        return super().read(key, default)

    def prune(self, now: float) -> None:
        self._make()
        super().prune(now)

    def _make(self) -> None:
        if not self._ready:
            self._store.all(limits.CREATE())
            self._ready = True
