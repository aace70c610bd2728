"""Queries of the server's database, not through the server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg


def fetch_rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(_connect(database_url)) as connection:
        return list(connection.execute(query).fetchall())


def execute(database_url: str, statement: str) -> None:
    """Run and commit a statement."""
    with closing(_connect(database_url)) as connection:
        connection.execute(statement)
        connection.commit()


def _connect(database_url: str) -> Any:
    if database_url.startswith("sqlite:///"):
        return sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=5)
    return psycopg.connect(database_url)
