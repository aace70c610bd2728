"""Queries and upgrades of the server's database, not through the server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import valetkey.storage.migrations


def fetch_rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(_connect(database_url)) as connection:
        return list(connection.execute(query).fetchall())


def execute(database_url: str, statement: str) -> None:
    """Run and commit a statement."""
    with closing(_connect(database_url)) as connection:
        connection.execute(statement)
        connection.commit()


def upgrade_to(database_url: str, revision: str) -> None:
    """Upgrade the schema to a revision, as the version of Valetkey did that had it."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    config = Config()
    config.set_main_option("script_location", valetkey.storage.migrations.__path__[0])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def _connect(database_url: str) -> Any:
    if database_url.startswith("sqlite:///"):
        return sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=5)
    return psycopg.connect(database_url)
