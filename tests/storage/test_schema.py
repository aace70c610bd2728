"""A database without tables, or with an older or newer schema: one sentence that says what to do."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import Engine, event, text

from tests.support.database import execute, fetch_rows, upgrade_to
from tests.support.program import free_port
from valetkey.storage import accounts, change_feed, consents, schema
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable, Transaction
from valetkey.storage.schema import check_schema, check_tables, schema_version, upgrade_schema

KILLED_UPGRADE = """
import itertools, os, signal, sys
from sqlalchemy import Engine, event
from valetkey.storage.schema import upgrade_schema
numbers = itertools.count(1)
@event.listens_for(Engine, "after_cursor_execute")
def kill(*_):
    if next(numbers) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
upgrade_schema(sys.argv[1])
"""
UPGRADE = "import sys; from valetkey.storage.schema import upgrade_schema; upgrade_schema(sys.argv[1])"


def set_version(store: Store, version: str) -> None:
    store.write(Transaction(rows=(Statement(text(f"UPDATE valetkey_schema SET version_num = '{version}'"))(),)))


class Interrupted(Exception):
    """An upgrade was interrupted."""


@contextmanager
def interrupted_after(statements: int) -> Iterator[None]:
    """Context manager in which an exception interrupts an upgrade after a number of SQL statements."""
    done = 0

    def interrupt(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == statements:
            raise Interrupted

    event.listen(Engine, "after_cursor_execute", interrupt)
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        event.remove(Engine, "after_cursor_execute", interrupt)


@pytest.fixture
def old_url(database_url: str) -> str:
    """A database with the schema of revision 0001 and one account."""
    upgrade_to(database_url, "0001")
    names = "sub, email, name, claims, created_at"
    execute(
        database_url, f"INSERT INTO valetkey_accounts ({names}) VALUES ('ada', 'ada@example.org', 'Ada', '{{}}', 7)"
    )
    return database_url


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


def test_processes_that_create_the_database_at_the_same_time_succeed(database_url: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", UPGRADE, database_url]) for _ in range(3)]

    assert [process.wait(30) for process in processes] == [0, 0, 0]
    with closing(open_store(database_url)) as store:
        check_schema(store)


@pytest.mark.parametrize("statements", [4, 10, 40, 70])
def test_an_interrupted_creation_leaves_nothing_and_is_repeated(database_url: str, statements: int) -> None:
    with interrupted_after(statements):
        upgrade_schema(database_url)

    with closing(open_store(database_url)) as store:
        assert schema_version(store) is None
        upgrade_schema(database_url)
        check_schema(store)
        assert accounts.list_all(store) == []


@pytest.mark.parametrize("statements", [10, 25, 40])
def test_an_interrupted_upgrade_changes_nothing_and_is_repeated(old_url: str, statements: int) -> None:
    with interrupted_after(statements):
        upgrade_schema(old_url)

    with closing(open_store(old_url)) as store:
        assert schema_version(store) == "0001"
        upgrade_schema(old_url)
        check_schema(store)
        assert [account.email for account in accounts.list_all(store)] == ["ada@example.org"]


@pytest.mark.parametrize("statements", [10, 40])
def test_an_upgrade_that_was_killed_is_repeated(old_url: str, statements: int) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, old_url, str(statements)], check=False)
    assert killed.returncode == -signal.SIGKILL

    upgrade_schema(old_url)

    with closing(open_store(old_url)) as store:
        check_schema(store)
        assert [account.email for account in accounts.list_all(store)] == ["ada@example.org"]


def test_a_sqlite_database_whose_creation_was_killed_is_created_with_all_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'valetkey.db'}"
    killed = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, url, "40"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "valetkey.db").exists()

    upgrade_schema(url)

    with closing(open_store(url)) as store:
        check_schema(store)
        check_tables(store)


def test_an_upgrade_of_a_locked_sqlite_database_says_what_to_do(
    sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreBusy, match=r"another process has locked it .* stop servers and backups"):
            upgrade_schema(sqlite_store_url)


def test_an_upgrade_of_a_locked_postgresql_table_says_what_to_do(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_S", 0.1)
    upgrade_to(postgresql_url, "0004")
    with psycopg.connect(postgresql_url) as other:
        other.execute("LOCK TABLE valetkey_sessions IN ACCESS SHARE MODE")  # as pg_dump does

        with pytest.raises(StoreBusy, match=r"another process has locked it .* stop servers and backups"):
            upgrade_schema(postgresql_url)

    assert fetch_rows(postgresql_url, "SELECT version_num FROM valetkey_schema") == [("0004",)]


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


@pytest.mark.parametrize("left", ["9999_a_later_version.py", "0005_an_earlier_version.py"])
def test_migrations_of_another_version_beside_the_installed_ones_are_named(
    database_url: str, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = shutil.copytree(schema._MIGRATIONS, tmp_path / "migrations")
    (migrations / "versions" / left).write_text("raise RuntimeError")
    monkeypatch.setattr(schema, "_MIGRATIONS", migrations)

    with pytest.raises(StoreUnavailable, match="has files of two versions of Valetkey"):
        upgrade_schema(database_url)


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


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "postgresql://user:p@ss:w0rd@db.example/name",
        "postgresql://user:w0rd@a.example:5432,b.example:5432/name",
        "postgresql://user:w0rd%zz@db.example/name",
        "postgresql://user:w0rd@[::1/name",
    ],
)
def test_an_invalid_database_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"database_url is not a URL .* percent-encode") as refusal:
        upgrade_schema(url)

    assert "w0rd" not in "".join(traceback.format_exception(refusal.value))


def test_a_url_with_several_hosts_is_read_as_the_message_says(postgresql_url: str) -> None:
    server = urlsplit(postgresql_url)
    url = f"postgresql://{server.username}@{server.path}?host=127.0.0.1,127.0.0.1&port={free_port()},{server.port}"

    upgrade_schema(url)

    with closing(open_store(url)) as store:
        check_schema(store)


@pytest.mark.parametrize("last_revision", ["0003", "0004"])
def test_a_database_of_revision_0003_is_upgraded_whether_it_has_the_columns_of_0004_or_not(
    database_url: str, last_revision: str
) -> None:
    """Databases were created while revision 0003 was empty, and while it did what 0004 does."""
    upgrade_to(database_url, last_revision)
    store = open_store(database_url)
    set_version(store, "0003")

    upgrade_schema(database_url)

    check_schema(store)
    assert accounts.list_all(store) == []
    assert consents.list_by_owner(store, "ada") == []
    assert change_feed.read(store, None).entries == []
    store.close()
