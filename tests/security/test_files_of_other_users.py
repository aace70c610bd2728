"""Files in a folder of the server's user: a command that root runs must not change other files through links there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from valetkey.cli import main
from valetkey.cli.certificate import ensure_self_signed_certificate
from valetkey.cli.served_issuer import save_served_issuer
from valetkey.storage.engine.sqlite import make_private
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.engine.use_lock import used_database
from valetkey.storage.schema import upgrade_schema
from valetkey.tokens.encryption import write_key_file


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside of the data directory."""
    file = tmp_path / "victim"
    file.write_text("secret")
    file.chmod(0o644)
    return file


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    folder = tmp_path / "var"
    folder.mkdir()
    return folder


@pytest.fixture
def given_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Act as root, and collect the inodes of files that are given to an owner."""
    inodes: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda descriptor, *_: inodes.append(os.fstat(descriptor).st_ino))
    return inodes


@pytest.mark.parametrize("lock", ["valetkey.db.lock", "valetkey.db.use.lock"])
@pytest.mark.parametrize("place", [Path.symlink_to, lambda lock, _: os.mkfifo(lock)])
def test_a_lock_that_is_no_regular_file_is_refused(
    lock: str, place: Callable[[Path, Path], None], data_dir: Path, victim: Path, given_files: list[int]
) -> None:
    place(data_dir / lock, victim)

    with pytest.raises(StoreUnavailable, match="not a regular file"):
        upgrade_schema(f"sqlite:///{data_dir / 'valetkey.db'}")

    assert victim.stat().st_ino not in given_files


def test_only_a_new_lock_is_given_to_the_owner_of_the_database(data_dir: Path, given_files: list[int]) -> None:
    with used_database(data_dir / "valetkey.db"):
        pass
    assert given_files == [(data_dir / "valetkey.db.use.lock").stat().st_ino]

    with used_database(data_dir / "valetkey.db"):  # another file of root's may have been renamed to this one
        pass
    assert len(given_files) == 1


def test_a_database_and_keys_that_root_creates_are_given_to_the_owner_of_the_folder(
    data_dir: Path, given_files: list[int]
) -> None:
    write_key_file(data_dir / "encryption.key")
    upgrade_schema(f"sqlite:///{data_dir / 'valetkey.db'}")

    assert {file.stat().st_ino for file in data_dir.iterdir()} == set(given_files)


def test_all_files_that_root_creates_belong_to_the_owner_of_the_folder(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(data_dir, *owner)
    monkeypatch.setenv("VALETKEY_DATA_DIR", str(data_dir))

    for command in ("init", "prune", "keys list"):
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 0, result.output
    ensure_self_signed_certificate(data_dir, [])
    save_served_issuer(str(data_dir), "https://shop.example")

    files = list(data_dir.iterdir())
    assert {file.name for file in files} >= {
        *("encryption.key", "valetkey.db", "valetkey.db.lock", "valetkey.db.use.lock", "valetkey.limits"),
        *("issuer", "tls.crt", "tls.key"),
    }
    assert {file.name: (file.stat().st_uid, file.stat().st_gid) for file in files} == {
        file.name: owner for file in files
    }


@pytest.fixture(params=["links can be left out", "old C library"])
def c_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test also as before glibc 2.32, or without /proc: there, chmod cannot leave out symbolic links."""
    chmod = os.chmod

    def chmod_of_old_library(path: Path, mode: int, *, follow_symlinks: bool = True) -> None:
        if not follow_symlinks:
            raise NotImplementedError
        chmod(path, mode)

    if request.param == "old C library":
        monkeypatch.setattr(os, "chmod", chmod_of_old_library)


@pytest.mark.usefixtures("c_library")
def test_an_existing_database_is_made_private(data_dir: Path) -> None:
    database = data_dir / "valetkey.db"
    database.touch(0o644)

    make_private(database)

    assert database.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("c_library")
@pytest.mark.parametrize("name", ["valetkey.db-wal", "valetkey.db-shm"])
def test_making_a_database_private_follows_no_link(name: str, data_dir: Path, victim: Path) -> None:
    make_private(data_dir / "valetkey.db")
    (data_dir / name).symlink_to(victim)

    make_private(data_dir / "valetkey.db")

    assert victim.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "issuer"])
def test_a_file_that_is_written_replaces_a_link(name: str, data_dir: Path, victim: Path) -> None:
    (data_dir / name).symlink_to(victim)

    ensure_self_signed_certificate(data_dir, [])
    save_served_issuer(str(data_dir), "https://shop.example")

    assert victim.read_text() == "secret" and not (data_dir / name).is_symlink()
