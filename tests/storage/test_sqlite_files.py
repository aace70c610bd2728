"""The SQLite files: only their owner can read them, and no code but SQLite opens them."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from valetkey.rate_limiting.backends.sql_counters import SqliteCounters
from valetkey.storage.engine.backup import back_up
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.sqlite import make_private
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable
from valetkey.storage.engine.use_lock import unused_database
from valetkey.storage.schema import schema_version, upgrade_schema

OPEN_AND_WAIT = """
import sys
from pathlib import Path
from valetkey.storage.engine.open import open_store
from valetkey.storage.schema import schema_version
store = open_store(f"sqlite:///{sys.argv[1]}")
schema_version(store)
print("open", flush=True)
sys.stdin.read()
"""
TAKE_EXCLUSIVE_LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(database.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.fixture
def database(sqlite_store_url: str) -> Path:
    """A SQLite database with tables and signing keys."""
    return Path(sqlite_store_url.removeprefix("sqlite:///"))


def is_locked_for_others(path: Path) -> bool:
    """Return whether another process cannot lock the SQLite file exclusively."""
    output = subprocess.check_output([sys.executable, "-c", TAKE_EXCLUSIVE_LOCK, path], text=True)
    return output.strip() == "database is locked"


def set_up_schema(path: Path) -> None:
    upgrade_schema(f"sqlite:///{path}")


def write_backup(path: Path) -> None:
    back_up(f"sqlite:///{path}", path.with_name("backup.db"))


@pytest.mark.parametrize("action", [set_up_schema, write_backup, make_private])
def test_no_action_makes_the_process_lose_the_locks_of_its_open_database(
    action: Callable[[Path], object], database: Path
) -> None:
    store = open_store(f"sqlite:///{database}")
    schema_version(store)
    assert is_locked_for_others(database)

    action(database)

    assert is_locked_for_others(database)
    store.close()
    assert not is_locked_for_others(database)


def test_the_counter_file_keeps_its_locks_if_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "valetkey.limits.db"
    first, second = SqliteCounters(path), SqliteCounters(path)
    first.spend("key", 1.0, 1.0, 5.0)

    second.spend("key", 1.0, 1.0, 5.0)
    second.close()

    assert is_locked_for_others(path)
    first.close()


def test_the_files_of_database_and_counters_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        upgrade_schema(f"sqlite:///{tmp_path / 'valetkey.db'}")
        store = open_store(f"sqlite:///{tmp_path / 'valetkey.db'}")
        schema_version(store)
        counters = SqliteCounters(tmp_path / "valetkey.limits.db")
        counters.spend("key", 1.0, 1.0, 5.0)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("valetkey*db*")}
    finally:
        os.umask(old_mask)

    store.close()
    counters.close()
    assert {"valetkey.db", "valetkey.limits.db", "valetkey.limits.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_counter_files_of_an_older_version_become_private(tmp_path: Path) -> None:
    path = tmp_path / "valetkey.limits.db"
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE other (number INTEGER)")
        for file in tmp_path.iterdir():
            file.chmod(0o644)

        counters = SqliteCounters(path)
        counters.spend("key", 1.0, 1.0, 5.0)

        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("*.db*")} == {0o600}
    counters.close()


def test_opening_a_missing_database_fails_and_creates_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'missing.db'}")

    with pytest.raises(StoreUnavailable, match=r"no database at .*missing\.db: run `valetkey init`"):
        store.fetch_one(Statement(text("SELECT 1"))())

    assert list(tmp_path.iterdir()) == []


def test_a_database_is_used_until_its_process_is_killed(database: Path) -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == "open\n"
        with pytest.raises(StoreBusy, match="another process uses the database"), unused_database(database):
            pass
        user.send_signal(signal.SIGKILL)
        user.wait()

    with unused_database(database):
        pass


def test_a_database_is_in_use_until_the_store_is_closed(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    schema_version(store)
    with pytest.raises(StoreBusy), unused_database(database):
        pass

    store.close()

    with unused_database(database), pytest.raises(StoreBusy, match="is being restored"):
        schema_version(store)
