"""SQLite connections are closed where they end, also without ``close()``: an open one is a ``ResourceWarning``."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from valetkey.storage.engine.open import open_counter_store
from valetkey.storage.engine.statement import Statement


def test_connections_of_a_store_in_a_reference_cycle_are_closed_with_it(tmp_path: Path) -> None:
    store = open_counter_store(tmp_path / "limits.db")
    store.fetch_all(Statement(text("SELECT 1"))())
    (connection,) = [each.raw for each in store._connections]
    store.itself = store  # type: ignore[attr-defined]

    del store
    gc.collect()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
