"""Functions that create a ``Store``, the access to a database, from a URL or a file."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .connection import Driver
from .postgresql import PostgresqlDriver
from .postgresql_problem import INVALID_URL
from .sqlite import SqliteCounterDriver, SqliteDriver
from .store import DEFAULT_MAX_CONNECTIONS, Store
from .transaction import StoreUnavailable


def open_store(url: str, *, pooler: str = "auto", max_connections: int = DEFAULT_MAX_CONNECTIONS) -> Store:
    """Return a ``Store`` for a database URL, ``sqlite:///path`` or ``postgresql://...``; it connects at its first use.

    :param pooler: the setting ``database_pooler``; of no effect for SQLite.
    :param max_connections: maximum number of connections of this process.
    :raises StoreUnavailable: if the URL is invalid.
    """
    path = sqlite_path(url)
    driver: Driver = SqliteDriver(path) if path else PostgresqlDriver(url, pooler=pooler)
    return Store(driver, max_connections)


def open_counter_store(path: Path) -> Store:
    """Return a ``Store`` for rate limit counters in a SQLite file.

    Its writes are not synced to disk: it does no harm if a power failure loses the last counts.
    """
    return Store(SqliteCounterDriver(path))


def sqlite_path(url: str) -> Path | None:
    """Return the path of the file behind a SQLite URL, or ``None`` for another database.

    :raises StoreUnavailable: if the URL is invalid.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreUnavailable(INVALID_URL) from None  # the cause may contain a part of the password
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
