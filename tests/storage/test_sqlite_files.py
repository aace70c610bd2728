"""The SQLite files: only their owner can read them, and no code but SQLite opens them."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from valetkey.cli import main
from valetkey.rate_limiting.backends.mapped_counters import MappedCounters
from valetkey.rate_limiting.backends.sql_counters import SqliteCounters
from valetkey.storage.engine import backup
from valetkey.storage.engine.backup import back_up
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.restore import replace_database, restorable_copy
from valetkey.storage.engine.sqlite import make_private
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable
from valetkey.storage.engine.use_lock import unused_database
from valetkey.storage.schema import check_schema, check_writable, schema_version, upgrade_schema

OPEN_AND_WAIT = """
import sys
from pathlib import Path
from valetkey.storage.engine.open import open_store
from valetkey.storage.schema import schema_version
store = open_store(f"sqlite:///{sys.argv[1]}")
schema_version(store)
print("open", flush=True)
sys.stdin.read()
"""
TAKE_EXCLUSIVE_LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(database.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
"""
WRITE_TO_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from valetkey.storage.engine.open import open_store
from valetkey.storage.schema import check_schema, check_writable
store = open_store(f"sqlite:///{sys.argv[1]}")
check_writable(store)
size = Path(f"{sys.argv[1]}-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
check_schema(store)
check_writable(store)
"""


@pytest.fixture
def database(sqlite_store_url: str) -> Path:
    """A SQLite database with tables and signing keys."""
    return Path(sqlite_store_url.removeprefix("sqlite:///"))


def is_locked_for_others(path: Path) -> bool:
    """Return whether another process cannot lock the SQLite file exclusively."""
    output = subprocess.check_output([sys.executable, "-c", TAKE_EXCLUSIVE_LOCK, path], text=True)
    return output.strip() == "database is locked"


def set_up_schema(path: Path) -> None:
    upgrade_schema(f"sqlite:///{path}")


def write_backup(path: Path) -> None:
    back_up(f"sqlite:///{path}", path.with_name("backup.db"))


def create_counters(path: Path) -> None:
    counters = SqliteCounters(path)
    counters.spend("key", 1.0, 1.0, 5.0)
    counters.close()


def create_mapped_counters(path: Path) -> None:
    counters = MappedCounters(path, SqliteCounters(path.with_name("overflow.db")))
    counters.spend("key", 1.0, 1.0, 5.0)
    counters.close()


@pytest.mark.parametrize("action", [set_up_schema, write_backup, make_private])
def test_no_action_makes_the_process_lose_the_locks_of_its_open_database(
    action: Callable[[Path], object], database: Path
) -> None:
    store = open_store(f"sqlite:///{database}")
    schema_version(store)
    assert is_locked_for_others(database)

    action(database)

    assert is_locked_for_others(database)
    store.close()
    assert not is_locked_for_others(database)


def test_the_counter_file_keeps_its_locks_if_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "valetkey.limits.db"
    first, second = SqliteCounters(path), SqliteCounters(path)
    first.spend("key", 1.0, 1.0, 5.0)

    second.spend("key", 1.0, 1.0, 5.0)
    second.close()

    assert is_locked_for_others(path)
    first.close()


def test_the_files_of_database_and_counters_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        upgrade_schema(f"sqlite:///{tmp_path / 'valetkey.db'}")
        store = open_store(f"sqlite:///{tmp_path / 'valetkey.db'}")
        schema_version(store)
        counters = SqliteCounters(tmp_path / "valetkey.limits.db")
        counters.spend("key", 1.0, 1.0, 5.0)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("valetkey*db*")}
    finally:
        os.umask(old_mask)

    store.close()
    counters.close()
    assert {"valetkey.db", "valetkey.limits.db", "valetkey.limits.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_counter_files_of_an_older_version_become_private(tmp_path: Path) -> None:
    path = tmp_path / "valetkey.limits.db"
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE other (number INTEGER)")
        for file in tmp_path.iterdir():
            file.chmod(0o644)

        counters = SqliteCounters(path)
        counters.spend("key", 1.0, 1.0, 5.0)

        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("*.db*")} == {0o600}
    counters.close()


@pytest.mark.parametrize("create", [set_up_schema, create_counters])
def test_a_new_file_behind_a_symbolic_link_is_readable_by_its_owner_only(
    create: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "volume").mkdir()
    target, link = tmp_path / "volume" / "valetkey.db", tmp_path / "valetkey.db"
    link.symlink_to(target)
    old_mask = os.umask(0o022)
    try:
        create(link)
    finally:
        os.umask(old_mask)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_database_behind_links_that_form_a_circle_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "valetkey.db").symlink_to(tmp_path / "valetkey.db")

    for action in (set_up_schema, lambda path: schema_version(open_store(f"sqlite:///{path}"))):
        with pytest.raises(StoreUnavailable):
            action(tmp_path / "valetkey.db")


def test_a_backup_has_one_snapshot_although_others_write_meanwhile(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_STEP_PAGES", 20)
    target = tmp_path / "backup.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (number INTEGER)")
        other.execute("PRAGMA synchronous = OFF")
        monkeypatch.setattr(backup, "_after_step", lambda *_: other.execute("INSERT INTO other VALUES (1)"))

        back_up(f"sqlite:///{database}", target)

    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM other").fetchone() == (0,)


def test_a_backup_that_is_stopped_removes_its_file(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_after_step", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    folder = tmp_path / "backups"
    folder.mkdir()
    monkeypatch.setenv("VALETKEY_DATABASE_URL", f"sqlite:///{database}")

    result = CliRunner().invoke(main, ["backup", str(folder / "backup.db")])

    assert result.exit_code == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []


def test_a_backup_removes_only_files_of_backups_that_were_killed(database: Path, tmp_path: Path) -> None:
    killed, running = tmp_path / "valetkey-backup.1.a.part", tmp_path / "valetkey-backup.2.b.part"
    for file in (killed, tmp_path / f"{killed.name}-journal", running):
        file.touch()

    with running.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_backup(database)

    assert [file.name for file in tmp_path.glob("valetkey-backup.*")] == [running.name]


@pytest.fixture
def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system has hard links, as FAT and some network file systems."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("without_hard_links")
@pytest.mark.parametrize("create", [set_up_schema, create_counters, create_mapped_counters])
def test_a_new_file_does_not_need_hard_links(create: Callable[[Path], object], tmp_path: Path) -> None:
    create(tmp_path / "valetkey.db")

    assert stat.S_IMODE((tmp_path / "valetkey.db").stat().st_mode) == 0o600
    assert {file.name for file in tmp_path.glob("valetkey.db.*")} <= {"valetkey.db.lock", "valetkey.db.use.lock"}


@pytest.mark.usefixtures("without_hard_links")
def test_a_restore_does_not_need_hard_links(database: Path, tmp_path: Path) -> None:
    write_backup(database)

    with restorable_copy(database.with_name("backup.db"), database) as copy:
        replaced_file = replace_database(database, copy, 0.0)

    assert replaced_file == database.with_name("valetkey.db.replaced-19700101T000000Z") and replaced_file.exists()
    assert database.exists()


@pytest.mark.usefixtures("without_hard_links")
def test_a_backup_does_not_need_hard_links(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "usb" / "backup.db"
    target.parent.mkdir()

    size = back_up(f"sqlite:///{database}", target)

    assert [(file.name, file.stat().st_size) for file in target.parent.iterdir()] == [("backup.db", size)]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(open_store(f"sqlite:///{target}")) as store:
        check_schema(store)


@pytest.mark.usefixtures("without_hard_links")
def test_a_file_that_appears_during_a_backup_is_not_replaced(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "usb" / "backup.db"
    target.parent.mkdir()

    def copy(_: Path, partial_file: Path) -> None:
        partial_file.write_text("copy")
        target.write_text("another backup")

    monkeypatch.setattr("valetkey.storage.engine.backup._copy", copy)

    with pytest.raises(StoreUnavailable, match=r"cannot be written: .*exists"):
        back_up(f"sqlite:///{database}", target)

    assert [file.read_text() for file in target.parent.iterdir()] == ["another backup"]


@pytest.mark.usefixtures("without_hard_links")
def test_a_backup_that_cannot_be_renamed_leaves_no_file(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target = tmp_path / "usb" / "backup.db"
    target.parent.mkdir()
    monkeypatch.setattr(os, "replace", fail)

    with pytest.raises(StoreUnavailable, match="cannot be written"):
        back_up(f"sqlite:///{database}", target)

    assert list(target.parent.iterdir()) == []


def test_opening_a_missing_database_fails_and_creates_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'missing.db'}")

    with pytest.raises(StoreUnavailable, match=r"no database at .*missing\.db: run `valetkey init`"):
        store.fetch_one(Statement(text("SELECT 1"))())

    assert list(tmp_path.iterdir()) == []


def test_a_database_is_used_until_its_process_is_killed(database: Path) -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == "open\n"
        with pytest.raises(StoreBusy, match="another process uses the database"), unused_database(database):
            pass
        user.send_signal(signal.SIGKILL)
        user.wait()

    with unused_database(database):
        pass


def test_a_database_is_in_use_until_the_store_is_closed(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    schema_version(store)
    with pytest.raises(StoreBusy), unused_database(database):
        pass

    store.close()

    with unused_database(database), pytest.raises(StoreBusy, match="is being restored"):
        schema_version(store)


@pytest.mark.parametrize("is_locked", [True, False], ids=["is removing it", "has removed it"])
def test_a_backup_whose_new_file_another_one_takes_for_a_leftover_uses_another_file(
    database: Path, monkeypatch: pytest.MonkeyPatch, is_locked: bool
) -> None:
    """Between the creation of the file and its lock: SQLite would create it again, readable by all users."""
    flock, removed = fcntl.flock, list[Path]()

    def flock_later(descriptor: int, operation: int) -> None:
        for file in database.parent.glob("*.part") if not removed else ():
            file.unlink()
            removed.append(file)
            if is_locked:
                raise BlockingIOError
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_later)

    write_backup(database)

    assert removed and database.with_name("backup.db").stat().st_mode & 0o777 == 0o600
    assert not list(database.parent.glob("*.part*"))


def test_a_database_that_can_only_be_read_does_not_count_as_writable(database: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WRITE_TO_A_FULL_DISK, str(database)], capture_output=True, text=True, check=False
    )

    assert "line 11, in <module>" in result.stderr  # the last check
    assert "StoreUnavailable: the database" in result.stderr


@pytest.mark.parametrize("action", ["move", "delete", "replace"])
def test_nothing_is_written_to_a_database_that_was_moved_away_or_replaced(database: Path, action: str) -> None:
    store = open_store(f"sqlite:///{database}")
    check_writable(store)
    moved = database.with_name("moved.db")
    if action == "delete":
        database.unlink()
    else:
        database.rename(moved)
    if action == "replace":
        shutil.copy(moved, database)

    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"while it is in use.*put the file back") as refusal:
            check_writable(store)
        assert not refusal.value.may_be_written
    if action != "delete":
        moved.replace(database)
        check_writable(store)
    store.close()


def test_a_database_may_be_replaced_while_its_store_is_closed(database: Path) -> None:
    store = open_store(f"sqlite:///{database}")
    check_writable(store)
    store.close()
    shutil.copy(database, database.with_name("copy.db"))
    database.with_name("copy.db").replace(database)

    check_writable(store)
    store.close()
