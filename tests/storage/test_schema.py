"""A database without tables, or with an older or newer schema: one sentence that says what to do."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from valetkey.storage import schema
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
    with pytest.raises(StoreUnavailable, match="no tables yet: run `valetkey init`"):
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
