"""Backup of a SQLite database while it is in use (https://www.sqlite.org/backup.html)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from .open import sqlite_path
from .transaction import StoreUnavailable
from .use_lock import used_database


def back_up(url: str, target: Path) -> int:
    """Write a consistent copy of the database to a new file that only its owner can read.

    :param url: SQLAlchemy URL of the database.
    :param target: path of the new file.
    :returns: the size of the backup in bytes.
    :raises StoreUnavailable: if the database is not a SQLite file, or the backup cannot be written; no file remains
        then.
    """
    source = sqlite_path(url)
    if source is None:
        raise StoreUnavailable(
            "the database is PostgreSQL: back it up with `pg_dump --format=custom`, or with continuous archiving"
        )
    if not source.is_file():
        raise StoreUnavailable(f"no database at {source}: check data_dir and database_url")
    if target.exists():
        raise StoreUnavailable(f"{target} already exists: choose another file")
    partial_file = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(source, partial_file)
        os.link(partial_file, target)  # atomic, and fails if the target exists
        return target.stat().st_size
    except (OSError, sqlite3.Error) as cause:
        raise StoreUnavailable(f"the backup {target} cannot be written: {cause}") from cause
    finally:
        partial_file.unlink(missing_ok=True)


def _copy(source: Path, partial_file: Path) -> None:
    with (
        used_database(source),
        closing(sqlite3.connect(source)) as database,
        closing(sqlite3.connect(partial_file)) as copy,
    ):
        database.backup(copy)  # in one step: under WAL a reader sees one snapshot and does not block writers
        copy.execute("PRAGMA journal_mode = DELETE")
        (result,) = copy.execute("PRAGMA quick_check").fetchone()
        if result != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {result}")
