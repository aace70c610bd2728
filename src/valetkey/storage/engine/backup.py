"""Backup of a SQLite database while it is in use (https://www.sqlite.org/backup.html)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .files import file_exists, place_new_file, sync
from .open import sqlite_path
from .transaction import StoreUnavailable
from .use_lock import used_database

_PARTIAL_NAME = "valetkey-backup"
_STEP_PAGES = 1000


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
    if not file_exists(source):
        raise StoreUnavailable(f"no database at {source}: check data_dir and database_url")
    if file_exists(target):
        raise StoreUnavailable(f"{target} already exists: choose another file")
    _remove_leftovers(target.parent)
    try:
        with _partial_file(target.parent) as partial_file:
            _copy(source, partial_file)
            place_new_file(partial_file, target)
        with contextlib.suppress(PermissionError):  # of a folder that this user may write, but not read
            sync(target.parent)
        return target.stat().st_size
    except (OSError, sqlite3.Error) as cause:
        raise StoreUnavailable(f"the backup {target} cannot be written: {cause}") from cause


@contextmanager
def _partial_file(folder: Path) -> Iterator[Path]:
    """Context manager that yields a new empty file with a lock, which shows that it is in use, and removes it later."""
    file, descriptor = _create_locked_file(folder)
    try:
        yield file
    finally:
        os.close(descriptor)  # not before SQLite closes the file, which would lose its own locks
        with contextlib.suppress(OSError):
            file.unlink()


def _create_locked_file(folder: Path) -> tuple[Path, int]:
    """Return the path of a new empty file, and a descriptor that holds a lock on it.

    Before it is locked, another backup may take it for a leftover and remove it: then another file is created.
    """
    while True:
        file = folder / f"{_PARTIAL_NAME}.{os.getpid()}.{os.urandom(4).hex()}.part"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        is_locked_by_other = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_locked_by_other = True
        except OSError:  # not every file system has locks
            pass
        if not is_locked_by_other and file.exists():
            return file, descriptor
        os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    """Remove the partial files of backups that were killed."""
    for file in folder.glob(f"{_PARTIAL_NAME}.*.part"):
        with contextlib.suppress(OSError):  # of another user, or in use
            descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
                file.with_name(f"{file.name}-journal").unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _copy(source: Path, partial_file: Path) -> None:
    with (
        used_database(source),
        closing(sqlite3.connect(source)) as database,
        closing(sqlite3.connect(partial_file)) as copy,
    ):
        # A read transaction: one snapshot, which does not block writers under WAL. Signals are handled between steps.
        database.execute("BEGIN")
        database.execute("SELECT 1 FROM sqlite_master").fetchall()
        database.backup(copy, pages=_STEP_PAGES, progress=_after_step)
        database.rollback()
        copy.execute("PRAGMA journal_mode = DELETE")
        (result,) = copy.execute("PRAGMA quick_check").fetchone()
        if result != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {result}")


def _after_step(*_: int) -> None:
    """Do nothing: Python handles signals when SQLite calls this."""
