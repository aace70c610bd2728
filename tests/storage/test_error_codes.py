"""Errors of the databases are recognized by their codes, whatever their messages say."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.sqlite import SqliteDriver
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import NoTables, StoreBusy, StoreUnavailable, Transaction
from valetkey.storage.schema import schema_version, upgrade_schema

_SELECT_UNKNOWN = Statement(text("SELECT 1 FROM clients"))
_SELECT_LOCKED_NAME = Statement(text('SELECT 1 FROM "no such table: locked busy readonly"'))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def test_an_empty_sqlite_database_has_no_tables(sqlite_url: str) -> None:
    sqlite3.connect(_path(sqlite_url)).close()
    store = open_store(sqlite_url)

    with pytest.raises(NoTables, match="valetkey init"):
        store.fetch_one(_SELECT_UNKNOWN())

    assert schema_version(store) is None


def test_a_sqlite_database_of_the_host_app_has_no_valetkey_tables(sqlite_url: str) -> None:
    with sqlite3.connect(_path(sqlite_url)) as raw:
        raw.execute("CREATE TABLE concerts (id INTEGER)")
    raw.close()

    assert schema_version(open_store(sqlite_url)) is None


def test_words_in_a_message_do_not_change_the_kind_of_a_sqlite_error(sqlite_url: str) -> None:
    upgrade_schema(sqlite_url)

    with pytest.raises(StoreUnavailable) as caught:
        open_store(sqlite_url).fetch_one(_SELECT_LOCKED_NAME())

    assert type(caught.value) is StoreUnavailable, "the name in the message says locked, busy, readonly, no such table"


def test_a_locked_sqlite_database_is_busy(sqlite_url: str) -> None:
    upgrade_schema(sqlite_url)
    writer = sqlite3.connect(_path(sqlite_url), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    store = open_store(sqlite_url)

    with pytest.raises(StoreBusy):
        store.write(Transaction(rows=(Statement(text("DELETE FROM clients"))(),)))

    writer.close()


def test_a_sqlite_file_that_may_not_be_written_names_permissions(sqlite_url: str) -> None:
    upgrade_schema(sqlite_url)
    connection = SqliteDriver(_path(sqlite_url)).connect()
    connection.raw.execute("PRAGMA query_only = 1")

    with pytest.raises(StoreUnavailable, match="permissions"):
        connection.run_transactions([Transaction(rows=(Statement(text("DELETE FROM clients"))(),))], 1.0, time.time)


def test_a_postgresql_database_without_tables_has_no_tables(postgresql_url: str) -> None:
    store = open_store(postgresql_url)

    with pytest.raises(NoTables):
        store.fetch_one(_SELECT_UNKNOWN())

    assert schema_version(store) is None
    store.close()


def test_a_postgresql_database_that_does_not_exist_is_not_one_without_tables(postgresql_url: str) -> None:
    store = open_store(f"{postgresql_url}_missing")

    with pytest.raises(StoreUnavailable, match="does not exist") as caught:
        schema_version(store)

    assert not isinstance(caught.value, NoTables)
