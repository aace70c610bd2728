"""A database without tables, or with an older or newer schema: one sentence that says what to do."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import valetkey.storage.migrations
from valetkey.storage import accounts, change_feed, consents, schema
from valetkey.storage.engine.open import open_store, sqlite_path
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.schema import check_schema, schema_version, upgrade_schema


def set_version(store: Store, version: str) -> None:
    store.write(Transaction(rows=(Statement(text(f"UPDATE valetkey_schema SET version_num = '{version}'"))(),)))


@pytest.fixture
def url(database_url: str) -> str:
    """A database with tables and without rows."""
    upgrade_schema(database_url)
    return database_url


def test_an_empty_database_has_no_schema_version_and_asks_for_init(database_url: str) -> None:
    store = open_store(database_url)

    assert schema_version(store) is None
    with pytest.raises(StoreUnavailable, match="run `valetkey init`"):
        check_schema(store)
    store.close()


def test_the_schema_check_passes_after_an_upgrade(url: str) -> None:
    store = open_store(url)

    check_schema(store)

    assert schema_version(store) == schema.HEAD_REVISION
    store.close()


def test_concurrent_upgrades_succeed(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade_schema, [database_url] * 4))

    store = open_store(database_url)
    check_schema(store)
    store.close()


def test_an_older_schema_asks_for_an_upgrade(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_REVISIONS", ("0000", *schema._REVISIONS))
    store = open_store(url)
    set_version(store, "0000")

    with pytest.raises(StoreUnavailable, match=r"older \(0000\).*run `valetkey db upgrade`"):
        check_schema(store)
    store.close()


def test_a_newer_schema_asks_for_a_newer_valetkey(url: str) -> None:
    store = open_store(url)
    set_version(store, "9999")

    with pytest.raises(StoreUnavailable, match=r"newer \(9999\).*install the newer"):
        check_schema(store)
    store.close()


def test_upgrading_a_newer_schema_is_refused_in_a_sentence(url: str) -> None:
    store = open_store(url)
    set_version(store, "9999")
    store.close()

    with pytest.raises(StoreUnavailable, match="newer"):
        upgrade_schema(url)


def test_only_the_owner_can_read_the_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "valetkey.db"
    upgrade_schema(f"sqlite:///{path}")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_error_names_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(StoreUnavailable, match="/proc/valetkey"):
        upgrade_schema("sqlite:////proc/valetkey/x.db")


def test_an_unreachable_server_is_reported_in_a_sentence() -> None:
    with pytest.raises(StoreUnavailable):
        upgrade_schema("postgresql://nobody@127.0.0.1:1/none")


def test_an_invalid_database_url_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="database_url"):
        sqlite_path("not a url")


@pytest.mark.parametrize("last_revision", ["0003", "0004"])
def test_a_database_of_revision_0003_is_upgraded_whether_it_has_the_columns_of_0004_or_not(
    database_url: str, last_revision: str
) -> None:
    """Databases were created while revision 0003 was empty, and while it did what 0004 does."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    config = Config()
    config.set_main_option("script_location", valetkey.storage.migrations.__path__[0])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, last_revision)
    engine.dispose()
    store = open_store(database_url)
    set_version(store, "0003")

    upgrade_schema(database_url)

    check_schema(store)
    assert accounts.list_all(store) == []
    assert consents.list_by_owner(store, "ada") == []
    assert change_feed.read(store, None).entries == []
    store.close()
