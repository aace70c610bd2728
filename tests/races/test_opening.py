"""Processes that start at the same time can all open the database."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from valetkey.storage.engine.sqlite import SqliteDriver
from valetkey.storage.engine.statement import Statement


def test_opening_waits_for_a_sqlite_file_that_another_process_is_creating(tmp_path: Path) -> None:
    """While another connection has locked the file, SQLite refuses WAL mode at once, despite the busy timeout."""
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other_process:
        other_process.execute("BEGIN IMMEDIATE")
        other_process.execute("CREATE TABLE new_table (number INTEGER)")
        threading.Timer(0.2, other_process.execute, ["COMMIT"]).start()
        with closing(SqliteDriver(path).connect()) as connection:
            assert connection.fetch_all(Statement(text("PRAGMA journal_mode"))()) == [("wal",)]
