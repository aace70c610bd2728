"""From a database URL to a store, and what state its schema is in."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .postgresql import PostgresqlDriver
from .sqlite import SqliteDriver
from .store import Store
from .transaction import StoreUnavailable


def open_store(url: str) -> Store:
    """A store for a URL (``sqlite:///path`` or ``postgresql://...``); nothing is opened yet.

    :raises StoreUnavailable: where the URL cannot be understood.
    """
    path = sqlite_path(url)
    return Store(SqliteDriver(path)) if path else Store(PostgresqlDriver(url))


def open_counter_store(path: Path) -> Store:
    """A SQLite file for rate limits: losing the last moment in a power cut is harmless, so nothing is synced."""
    return Store(SqliteDriver(path, synchronous="OFF"))


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL; None for PostgreSQL."""
    try:
        parsed = make_url(url)
    except ArgumentError as cause:
        raise StoreUnavailable("database_url cannot be understood") from cause
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
