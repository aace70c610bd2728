"""Replace a SQLite database with a backup of it: all work is done on a copy, which then takes its place in one step."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .files import file_exists, place_new_file, resolve_links, sync
from .sqlite import make_private
from .transaction import StoreBusy, StoreUnavailable
from .use_lock import unused_database

_JOURNAL_SUFFIXES = ("-wal", "-journal")  # changes that are not in the database file yet


@contextmanager
def restorable_copy(backup: Path, database: Path) -> Iterator[Path]:
    """Context manager that yields a checked copy of a backup, in a folder beside the database that is removed later.

    No process may use the database meanwhile. The backup is not changed.

    :raises StoreBusy: if a process uses the database.
    :raises StoreUnavailable: if the backup is no intact SQLite database, or cannot be copied; or if what is done with
        the copy fails. The message says that the database is unchanged.
    """
    _check_backup_file(backup, database)
    if not file_exists(database.parent):
        raise StoreUnavailable(
            f"there is no folder {database.parent}: create it, put encryption.key into it if you have that file, or "
            "correct data_dir or database_url"
        )
    with unused_database(database):
        close_database(database)
        _remove_leftovers(database)
        folder = _copy_folder(database)
        try:
            folder.mkdir(mode=0o700)
            copy = folder / database.name
            make_private(copy, like=database)
            _copy(backup, copy)
            yield copy
        except (OSError, sqlite3.Error, StoreUnavailable) as cause:
            text = cause.strerror if isinstance(cause, OSError) else str(cause)
            raise StoreUnavailable(f"{backup} was not restored: {text}\n{database} is unchanged") from cause
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def replace_database(database: Path, copy: Path, now: float) -> Path | None:
    """Put a copy, which is not open, in the place of a database that no process uses.

    If this is interrupted, the old or the new database is in place, whole; on a file system without hard links, the old
    one may only have its new name.

    :param now: seconds since 1970, for the name of the file that the old database gets.
    :returns: the file to which the old database was moved; ``None`` if there was none.
    :raises StoreBusy: if a process uses the database.
    :raises OSError: if a file cannot be renamed.
    """
    close_database(copy)
    sync(copy)
    close_database(database)
    replaced_file = _free_name(database, now)
    if database.exists():
        place_new_file(database, replaced_file)
    for suffix in _JOURNAL_SUFFIXES:  # only a damaged database has one: SQLite would apply it to the new one
        journal = _with_suffix(database, suffix)
        if journal.exists():
            os.replace(journal, _with_suffix(replaced_file, suffix))
    _with_suffix(database, "-shm").unlink(missing_ok=True)
    sync(database.parent)
    os.replace(copy, database)
    sync(database.parent)
    return replaced_file if replaced_file.exists() else None


def close_database(database: Path) -> None:
    """Write the write-ahead log (WAL) of a SQLite database into its file and delete the log.

    Do nothing if the file does not exist or is damaged: then the log is needed to save what can be saved.

    :raises StoreBusy: if another process has the database open.
    """
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=0.2)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.DatabaseError as cause:
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise StoreBusy(f"another process uses the database {database}: stop it first") from cause


def _check_backup_file(backup: Path, database: Path) -> None:
    if not file_exists(backup):
        raise StoreUnavailable(f"there is no file {backup}")
    if not backup.is_file():
        raise StoreUnavailable(f"{backup} is not a file: name a file that `valetkey backup` wrote")
    if file_exists(database) and backup.samefile(database):
        raise StoreUnavailable(f"{backup} is the database itself: name a file that `valetkey backup` wrote")


def _copy(backup: Path, copy: Path) -> None:
    """Copy a backup with SQLite, which reads the write-ahead log beside it too if there is one, and check the copy.

    :raises StoreUnavailable: if the backup is no SQLite database, or damaged.
    """
    try:
        with (
            closing(sqlite3.connect(f"{resolve_links(backup).as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE").fetchall()
            problems = [str(row[0]) for row in target.execute("PRAGMA integrity_check(1)")]
    except sqlite3.DatabaseError as cause:
        if isinstance(cause, sqlite3.OperationalError):  # no space, no permission
            raise
        raise StoreUnavailable(f"it is not a SQLite database, or damaged ({cause})") from cause
    if problems != ["ok"]:
        raise StoreUnavailable(f"it is damaged ({problems[0]})")


def _remove_leftovers(database: Path) -> None:
    """Remove what a restore left that was killed: its copy, and a second name of the database."""
    shutil.rmtree(_copy_folder(database), ignore_errors=True)
    for replaced_file in database.parent.glob(f"{database.name}.replaced-*"):
        has_journal = any(_with_suffix(replaced_file, suffix).exists() for suffix in _JOURNAL_SUFFIXES)
        if database.exists() and replaced_file.samefile(database) and not has_journal:
            replaced_file.unlink()


def _copy_folder(database: Path) -> Path:
    return database.with_name(f"{database.name}.restoring")


def _free_name(database: Path, now: float) -> Path:
    name = f"{database.name}.replaced-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    names = [name, *(f"{name}.{number}" for number in range(2, 100))]
    return next(file for file in map(database.with_name, names) if not file.exists())


def _with_suffix(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
