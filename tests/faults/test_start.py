"""What a start says that cannot succeed."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.faults.refused_commands import refusal_messages, run_refused_commands
from tests.support.database import execute
from tests.support.program import free_port
from tests.support.valetkey_server import Deployment
from valetkey.storage.schema import HEAD_REVISION

LATER_CODE = """
from valetkey.storage import schema
schema.HEAD_REVISION, schema._REVISIONS = "9999", (*schema._REVISIONS, "9999")
from valetkey.cli import main
main()
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A service whose SQLite store is not made yet."""
    return Deployment(tmp_path)


def test_a_busy_port(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        [said] = refusal_messages(deployment, f"serve --port {port}")
    assert f"port {port}" in said and "choose another with --port" in said


def test_a_host_that_there_is_not(deployment: Deployment) -> None:
    [said] = refusal_messages(deployment, "serve --host nowhere.invalid")
    assert "there is no host 'nowhere.invalid'" in said and "--host" in said


def test_a_certificate_that_is_none(deployment: Deployment) -> None:
    file = deployment.data_dir / "cert.pem"
    file.write_text("")
    [said] = refusal_messages(deployment, f"serve --tls-cert {file} --tls-key {file}")
    assert str(file) in said and "PEM" in said


def test_a_demonstration_where_others_could_come_in(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"issuer": "https://api.example.com"})
    for said in refusal_messages(deployment, "init --demo", "serve --demo"):
        assert "--demo" in said and "leave it out" in said and "https://api.example.com" in said
    assert list(tmp_path.iterdir()) == [], "a refusal leaves nothing behind"


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for said in refusal_messages(Deployment(tmp_path / "file"), "init", "serve"):
        assert str(tmp_path / "file") in said and "set data_dir" in said


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    for said in refusal_messages(Deployment(folder), "init", "serve", prefix=_without_root_rights()):
        assert str(folder) in said and "cannot be written" in said and "set data_dir" in said


def test_a_store_that_became_read_only(deployment: Deployment) -> None:
    deployment.run("init")
    for path in (deployment.data_dir, *deployment.data_dir.iterdir()):
        path.chmod(0o500 if path.is_dir() else 0o400)
    [said] = refusal_messages(deployment, "serve", prefix=_without_root_rights())
    assert "cannot be written" in said and "permissions" in said


def test_a_database_that_is_down(tmp_path: Path) -> None:
    url = f"postgresql://somebody:vk-secret@127.0.0.1:{free_port()}/valetkey"
    for said in refusal_messages(Deployment(tmp_path, settings={"database_url": url}), "init", "serve"):
        assert "cannot be reached" in said and "database_url" in said
        assert "vk-secret" not in said


def test_a_postgresql_database_without_tables(tmp_path: Path, postgresql_url: str) -> None:
    [said] = refusal_messages(Deployment(tmp_path, settings={"database_url": postgresql_url}), "serve")
    assert "run `valetkey init`" in said


def test_a_database_newer_than_the_code(tmp_path: Path, database_url: str) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": database_url})
    deployment.run("init")
    execute(database_url, "UPDATE valetkey_schema SET version_num = '9999'")
    for said in refusal_messages(deployment, "serve", "init"):
        assert "newer" in said and "9999" in said and "install the newer Valetkey" in said


def test_a_database_older_than_the_code(tmp_path: Path, database_url: str) -> None:
    deployment = _Later(tmp_path, settings={"database_url": database_url})
    Deployment(tmp_path, settings=deployment.settings).run("init")
    for said in refusal_messages(deployment, "serve"):
        assert f"older ({HEAD_REVISION})" in said and "run `valetkey db upgrade`" in said


def test_wrong_settings_are_told_all_together(tmp_path: Path) -> None:
    wrong = {"issuer": "http://api.example.com", "refresh_retry_window": 3600, "scopes": {"two words": "x"}}
    wrong |= {"acces_token_lifetime": 60, "session_lifetime": "long", "redis_url": "http://127.0.0.1"}
    wrong |= {"encryption_keys": "c2hvcnQ="}
    [lines] = run_refused_commands(Deployment(tmp_path, settings=wrong), "serve")
    said = "\n".join(lines)
    for name in ("issuer", "refresh_retry_window", "two words", "session_lifetime", "redis_url", "encryption_keys"):
        assert name in said.lower()
    assert "VALETKEY_ACCES_TOKEN_LIFETIME: unknown setting; did you mean VALETKEY_ACCESS_TOKEN_LIFETIME?" in said
    assert len(lines) == len(wrong)
    assert "c2hvcnQ=" not in said
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_plain_http_off_loopback(tmp_path: Path) -> None:
    [said] = refusal_messages(Deployment(tmp_path, settings={"issuer": "http://api.example.com"}), "serve")
    assert "uses http" in said and "set issuer to an https:// URL" in said


def test_a_wrong_encryption_key(deployment: Deployment) -> None:
    deployment.run("init")
    (deployment.data_dir / "encryption.key").unlink()  # another one is made
    for said in refusal_messages(deployment, "init", "serve"):
        assert "another key" in said and "set encryption_keys" in said


class _Later(Deployment):
    """The same command, of a later version of the code."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", LATER_CODE, *arguments]


def _without_root_rights() -> list[str]:
    """Root may write everywhere: unless it gives that right up."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv is not installed: as root `apt-get install util-linux`"
    return [setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
