"""A copy of a SQLite store while it is in use (https://www.sqlite.org/backup.html)."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from .open import sqlite_path
from .transaction import StoreUnavailable


def back_up(url: str, target: Path) -> int:
    """Copy the store as it is at one moment into a new file, for its owner only; the answer is its size in bytes.

    :raises StoreUnavailable: where the store is no SQLite file, or the copy cannot be written; nothing is left then.
    """
    source = sqlite_path(url)
    if source is None:
        raise StoreUnavailable(
            "the store is PostgreSQL: back it up with `pg_dump --format=custom`, or by its own continuous archiving"
        )
    if not source.is_file():
        raise StoreUnavailable(f"there is no store at {source}")
    if target.exists():
        raise StoreUnavailable(f"{target} is there already: name a new file")
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(source, draft)
        os.link(draft, target)  # whole or not at all
        return target.stat().st_size
    except (OSError, sqlite3.Error) as cause:
        raise StoreUnavailable(f"the copy {target} cannot be made: {cause}") from cause
    finally:
        draft.unlink(missing_ok=True)


def _copy(source: Path, partial_file: Path) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(partial_file)) as there:
        here.backup(there)  # in one step: under WAL a reader holds no writer up, and sees one moment
        there.execute("PRAGMA journal_mode = DELETE")
        (verdict,) = there.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
