"""`valetkey restore`: what it refuses, and what remains if it is interrupted."""

from __future__ import annotations

import os
import resource
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
from alembic import command
from alembic.config import Config
from click.testing import CliRunner
from sqlalchemy import create_engine

import valetkey.storage
from tests.faults.restorable_site import RestorableSite
from valetkey.cli import main
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.restore import close_database
from valetkey.storage.schema import HEAD_REVISION, schema_version

OPEN_AND_WAIT = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode = WAL")
database.execute("SELECT count(*) FROM valetkey_accounts").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def site(tmp_path: Path) -> RestorableSite:
    return RestorableSite(tmp_path)


def test_a_restore_replaces_the_database_and_keeps_the_old_one(site: RestorableSite) -> None:
    result = site.restore("--yes")

    assert result.returncode == 0, result.stderr
    assert site.users() == ["before@example.org"]
    [old] = site.replaced_files()
    assert site.users(old) == ["after@example.org", "before@example.org"]
    assert f"The old database is {old}" in result.stdout
    assert {stat.S_IMODE(file.stat().st_mode) for file in (site.database, old)} == {0o600}
    assert site.users(site.backup) == ["before@example.org"]
    assert "Ready to serve" in site.deployment.run("check")


def test_the_write_ahead_log_of_a_killed_server_is_not_applied_to_the_backup(site: RestorableSite) -> None:
    """The log of the old database has pages that would replace pages of the new one."""
    killed = (
        "import os, sys, sqlite3\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA journal_mode = WAL')\n"
        "database.execute('PRAGMA wal_autocheckpoint = 0')\n"
        "rows = [(f'{number}', 'x' * 900) for number in range(900)]\n"
        "database.executemany('INSERT INTO valetkey_leases VALUES (?, ?, 0)', rows)\n"
        "database.commit()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", killed, site.database], check=False)
    assert (site.folder / "valetkey.db-wal").stat().st_size > 500_000

    result = site.restore("--yes")

    assert result.returncode == 0, result.stderr
    assert site.users() == ["before@example.org"]
    [old] = site.replaced_files()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT count(*) FROM valetkey_leases").fetchone()[0] >= 900
    assert sorted(file.name for file in site.folder.glob("*-wal")) == []


def test_a_damaged_database_is_kept_and_replaced(site: RestorableSite) -> None:
    site.database.write_bytes(b"no database" * 1000)
    (site.folder / "valetkey.db-wal").write_bytes(b"log")
    (site.folder / "valetkey.db-shm").write_bytes(b"index")

    result = site.restore("--yes")

    assert result.returncode == 0, result.stderr
    assert site.users() == ["before@example.org"]
    assert site.replaced_files()[0].read_bytes().startswith(b"no database")
    assert list(site.folder.glob("valetkey.db-*")) == []


def test_a_log_without_its_database_is_kept_and_not_applied_to_the_backup(site: RestorableSite) -> None:
    site.database.unlink()
    (site.folder / "valetkey.db-wal").write_bytes(b"log")

    assert site.restore("--yes").returncode == 0

    assert site.users() == ["before@example.org"]
    [log] = site.replaced_files()
    assert (log.name[-4:], log.read_bytes()) == ("-wal", b"log")


def test_an_unconfirmed_restore_changes_nothing(site: RestorableSite) -> None:
    result = site.restore(input="n\n")

    assert result.returncode == 1
    assert "All users are signed out" in result.stdout
    assert site.users() == ["after@example.org", "before@example.org"]
    assert site.replaced_files() == list(site.folder.glob("*.restoring")) == []


def test_keeping_the_tokens_is_warned_about(site: RestorableSite) -> None:
    result = site.restore("--keep-tokens", "--yes")

    assert (
        "Warning: everything that was revoked, used or withdrawn after the backup becomes valid again" in result.stdout
    )
    assert site.users() == ["before@example.org"]


def test_a_data_directory_that_is_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    folder, file = tmp_path / "var", tmp_path / "backup.db"
    folder.symlink_to(folder)
    file.touch()

    result = CliRunner().invoke(main, ["--data-dir", str(folder), "restore", str(file), "--yes"])

    assert result.exit_code == 1
    assert "cannot be accessed (Too many levels of symbolic links)" in result.output


def make_empty(site: RestorableSite) -> Path:
    file = site.folder.parent / "file"
    file.touch()
    return file


def make_text(site: RestorableSite) -> Path:
    file = site.folder.parent / "file"
    file.write_text("This is no database.\n" * 100)
    return file


def make_other_sqlite(site: RestorableSite) -> Path:
    file = site.folder.parent / "file"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE valetkey_accounts (sub TEXT)")
    return file


def make_truncated(site: RestorableSite) -> Path:
    file = site.folder.parent / "file"
    file.write_bytes(site.backup.read_bytes()[:-40_000])
    return file


def make_damaged(site: RestorableSite) -> Path:
    file, content = site.folder.parent / "file", bytearray(site.backup.read_bytes())
    for page in range(8, len(content) // 4096 - 2):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    file.write_bytes(content)
    return file


def make_newer(site: RestorableSite) -> Path:
    with closing(sqlite3.connect(site.backup)) as connection, connection:
        connection.execute("UPDATE valetkey_schema SET version_num = '9999'")
    return site.backup


def make_without_table(site: RestorableSite) -> Path:
    with closing(sqlite3.connect(site.backup)) as connection, connection:
        connection.execute("DROP TABLE valetkey_grants")
    return site.backup


def make_symlink(site: RestorableSite) -> Path:
    link = site.folder.parent / "link"
    link.symlink_to(site.database)
    return link


def make_hard_link(site: RestorableSite) -> Path:
    link = site.folder.parent / "link"
    os.link(site.database, link)
    return link


@pytest.mark.parametrize(
    ("make_file", "message"),
    [
        (lambda site: site.folder / "no-such-file", "there is no file"),
        (lambda site: site.folder, "is not a file"),
        (lambda site: Path("/dev/null"), "is not a file"),
        (lambda site: site.database, "is the database itself"),
        (make_symlink, "is the database itself"),
        (make_hard_link, "is the database itself"),
        (make_empty, "it is not a Valetkey database"),
        (make_text, "it is not a SQLite database"),
        (make_other_sqlite, "it is not a Valetkey database"),
        (make_truncated, "damaged"),
        (make_damaged, "damaged"),
        (make_newer, "newer"),
        (make_without_table, "valetkey_grants are missing"),
    ],
)
def test_a_file_that_cannot_be_restored_is_refused(
    site: RestorableSite, make_file: Callable[[RestorableSite], Path], message: str
) -> None:
    assert message in site.refusal(file=make_file(site))


def test_a_backup_with_an_older_schema_is_upgraded(site: RestorableSite) -> None:
    old = site.folder.parent / "old.db"
    config = Config()
    config.set_main_option("script_location", str(Path(valetkey.storage.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()
    with closing(sqlite3.connect(site.backup)) as source, closing(sqlite3.connect(old)) as target, target:
        columns = "kid, algorithm, public, private, active_at, retired_at"
        keys = source.execute(f"SELECT {columns} FROM valetkey_signing_keys").fetchall()
        target.executemany(f"INSERT INTO valetkey_signing_keys ({columns}) VALUES (?, ?, ?, ?, ?, ?)", keys)

    result = site.restore("--yes", file=old)

    assert result.returncode == 0, result.stderr
    assert "its schema is 0002" in result.stdout
    store = open_store(site.url)
    assert schema_version(store) == HEAD_REVISION
    store.close()


@pytest.mark.parametrize("key", [None, "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q="])
def test_a_backup_without_its_encryption_key_is_refused(site: RestorableSite, key: str | None) -> None:
    (site.folder / "encryption.key").unlink()
    if key:
        (site.folder / "encryption.key").write_text(key)

    message = site.refusal()

    assert ("encrypted with another key" if key else "put the file back") in message
    assert f"{site.database} is unchanged" in message


def test_a_restore_is_refused_while_another_program_has_the_database_open(site: RestorableSite) -> None:
    """A program that does not know Valetkey's lock, such as an older version or the sqlite3 shell."""
    user = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, site.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == "open\n"
        assert "another process uses the database" in site.refusal()
        user.kill()

    assert site.restore("--yes").returncode == 0


def test_a_full_disk_leaves_the_old_database(site: RestorableSite) -> None:
    limit = site.backup.stat().st_size // 2
    result = site.restore("--yes", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

    assert result.returncode == 1
    assert "was not restored" in result.stderr and "is unchanged" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert site.users() == ["after@example.org", "before@example.org"]
    assert list(site.folder.glob("*.restoring")) == []


KILLED_AT = """
import os, sys
calls = int(sys.argv.pop(1))
def count_down(event, arguments):
    global calls
    names = ("os.link", "os.rename", "os.mkdir", "os.remove", "os.chmod", "sqlite3.connect", "shutil.rmtree")
    if event in names and "valetkey.db" in str(arguments):
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), 9)
from valetkey.cli import main
sys.argv[0] = "valetkey"
sys.addaudithook(count_down)
main()
"""


def test_a_restore_that_is_killed_at_any_step_leaves_a_whole_database(site: RestorableSite, tmp_path: Path) -> None:
    seen, finished = set(), False
    for step in range(1, 200):
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(site.folder, work)
        environment = {**site.deployment.environment, "VALETKEY_DATA_DIR": str(work)}
        command = [sys.executable, "-c", KILLED_AT, str(step), "restore", str(site.backup), "--yes"]
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        seen.add(tuple(site.users(work / "valetkey.db")))
        if process.returncode != -signal.SIGKILL:
            finished = True
            assert process.returncode == 0, process.stderr
            break
    assert finished
    assert seen == {("before@example.org",), ("after@example.org", "before@example.org")}


def test_a_restore_removes_what_a_killed_one_left(site: RestorableSite) -> None:
    (site.folder / "valetkey.db.restoring").mkdir()
    (site.folder / "valetkey.db.restoring" / "valetkey.db").write_bytes(b"part")
    os.link(site.database, site.folder / "valetkey.db.replaced-20200101T000000Z")

    assert site.restore("--yes").returncode == 0

    assert [file.name for file in site.replaced_files()] != ["valetkey.db.replaced-20200101T000000Z"]
    assert len(site.replaced_files()) == 1
    assert list(site.folder.glob("*.restoring")) == []


def test_closing_a_missing_database_does_nothing(tmp_path: Path) -> None:
    close_database(tmp_path / "missing.db")

    assert list(tmp_path.iterdir()) == []
