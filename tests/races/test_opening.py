"""Processes that start together open the store together."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from valetkey.storage.engine.sqlite import SqliteDriver
from valetkey.storage.engine.statement import Statement


def test_a_new_sqlite_file_that_another_process_is_creating_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses the switch to WAL at once while another holds the file, whatever the busy timeout."""
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE begun (made INTEGER)")
        threading.Timer(0.2, other.execute, ["COMMIT"]).start()
        with closing(SqliteDriver(path).connect()) as connection:
            assert connection.fetch_all(Statement(text("PRAGMA journal_mode"))()) == [("wal",)]
