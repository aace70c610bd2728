"""A server that cannot start ends with one error message that says what is wrong and what to do."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.faults.refused_commands import refusal_messages, run_refused_commands, without_root_rights
from tests.support.database import execute
from tests.support.program import free_port
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.cli.bind import check_certificate
from valetkey.cli.certificate import ensure_self_signed_certificate
from valetkey.storage.schema import HEAD_REVISION

NEWER_CODE = """
from valetkey.storage import schema
schema.HEAD_REVISION, schema._REVISIONS = "9999", (*schema._REVISIONS, "9999")
from valetkey.cli import main
main()
"""
SANDBOXED_CODE = """
import os
def refuse(*_):
    raise PermissionError(1, "Operation not permitted")
os.sched_setscheduler = os.posix_fadvise = os.posix_fallocate = os.memfd_create = refuse
from valetkey.cli import main
main()
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A deployment whose SQLite database does not exist yet."""
    return Deployment(tmp_path)


def test_a_port_in_use_is_reported(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        [message] = refusal_messages(deployment, f"serve --port {port}")
    assert f"port {port}" in message and "choose another with --port" in message


def test_an_unknown_host_is_reported(deployment: Deployment) -> None:
    [message] = refusal_messages(deployment, "serve --host nowhere.invalid")
    assert "unknown host 'nowhere.invalid'" in message and "--host" in message


def test_a_file_that_is_no_certificate_is_reported(deployment: Deployment) -> None:
    file = deployment.data_dir / "cert.pem"
    file.write_text("")
    [message] = refusal_messages(deployment, f"serve --tls-cert {file} --tls-key {file}")
    assert str(file) in message and "PEM" in message


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nMIG", "of another certificate"])
def test_an_unusable_self_signed_certificate_is_replaced(content: str, tmp_path: Path) -> None:
    _, key = ensure_self_signed_certificate(tmp_path, [])
    _, other_key = ensure_self_signed_certificate(tmp_path / "other", [])
    key.write_text(content if "another" not in content else other_key.read_text())

    pair = ensure_self_signed_certificate(tmp_path, [])

    check_certificate(*pair)
    assert ensure_self_signed_certificate(tmp_path, []) == pair


def test_demo_mode_is_refused_for_an_issuer_that_others_can_reach(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"issuer": "https://api.example.com"})
    for message in refusal_messages(deployment, "init --demo", "serve --demo"):
        assert "--demo" in message and "remove it" in message and "https://api.example.com" in message
    assert list(tmp_path.iterdir()) == [], "a refused command creates no files"


def test_a_data_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for message in refusal_messages(Deployment(tmp_path / "file"), "init", "serve"):
        assert str(tmp_path / "file") in message and "set data_dir" in message


def test_a_read_only_data_directory_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    for message in refusal_messages(Deployment(folder), "init", "serve", prefix=without_root_rights()):
        assert str(folder) in message and "cannot be written" in message and "set data_dir" in message


def test_a_read_only_sqlite_database_is_reported(deployment: Deployment) -> None:
    deployment.run("init")
    for path in (deployment.data_dir, *deployment.data_dir.iterdir()):
        path.chmod(0o500 if path.is_dir() else 0o400)
    [message] = refusal_messages(deployment, "serve", prefix=without_root_rights())
    assert "cannot be written" in message and "permissions" in message


def test_an_unreachable_database_is_reported_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://user:vk-secret@127.0.0.1:{free_port()}/valetkey"
    for message in refusal_messages(Deployment(tmp_path, settings={"database_url": url}), "init", "serve"):
        assert "cannot be reached" in message and "database_url" in message
        assert "vk-secret" not in message


def test_a_postgresql_database_without_tables_is_reported(tmp_path: Path, postgresql_url: str) -> None:
    [message] = refusal_messages(Deployment(tmp_path, settings={"database_url": postgresql_url}), "serve")
    assert "run `valetkey init`" in message


def test_a_database_that_is_newer_than_the_code_is_reported(tmp_path: Path, database_url: str) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": database_url})
    deployment.run("init")
    execute(database_url, "UPDATE valetkey_schema SET version_num = '9999'")
    for message in refusal_messages(deployment, "serve", "init"):
        assert "newer" in message and "9999" in message and "install the newer Valetkey" in message


def test_a_database_that_is_older_than_the_code_is_reported(tmp_path: Path, database_url: str) -> None:
    deployment = _NewerDeployment(tmp_path, settings={"database_url": database_url})
    Deployment(tmp_path, settings=deployment.settings).run("init")
    for message in refusal_messages(deployment, "serve"):
        assert f"older ({HEAD_REVISION})" in message and "run `valetkey db upgrade`" in message


def test_all_invalid_settings_are_reported_together(tmp_path: Path) -> None:
    invalid = {"issuer": "http://api.example.com", "refresh_retry_window": 3600, "scopes": {"two words": "x"}}
    invalid |= {"acces_token_lifetime": 60, "session_lifetime": "long", "redis_url": "http://127.0.0.1"}
    invalid |= {"encryption_keys": "c2hvcnQ="}
    [lines] = run_refused_commands(Deployment(tmp_path, settings=invalid), "serve")
    message = "\n".join(lines)
    for name in ("issuer", "refresh_retry_window", "two words", "session_lifetime", "redis_url", "encryption_keys"):
        assert name in message.lower()
    assert "VALETKEY_ACCES_TOKEN_LIFETIME: unknown setting; did you mean VALETKEY_ACCESS_TOKEN_LIFETIME?" in message
    assert len(lines) == len(invalid)
    assert "c2hvcnQ=" not in message
    assert not list(tmp_path.iterdir()), "a refused start creates no files"


def test_an_http_issuer_that_is_not_on_loopback_is_refused(tmp_path: Path) -> None:
    [message] = refusal_messages(Deployment(tmp_path, settings={"issuer": "http://api.example.com"}), "serve")
    assert "uses http" in message and "set issuer to an https:// URL" in message


def test_an_encryption_key_that_cannot_decrypt_the_signing_keys_is_reported(deployment: Deployment) -> None:
    deployment.run("init")
    (deployment.data_dir / "encryption.key").unlink()
    deployment.run("keys", "new", "--file", "encryption.key")
    for message in refusal_messages(deployment, "init", "serve"):
        assert "another key" in message and "set encryption_keys" in message


def test_a_sandbox_that_refuses_optional_system_calls_does_not_prevent_a_start(tmp_path: Path) -> None:
    with RunningServer(_SandboxedDeployment(tmp_path)) as server:
        assert httpx.get(f"{server.url}/readyz").json()["checks"]["counters"] == "ok"
        assert "Traceback" not in server.log


class _SandboxedDeployment(Deployment):
    """A deployment in a sandbox such as gVisor, which refuses some system calls."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", SANDBOXED_CODE, *arguments]


class _NewerDeployment(Deployment):
    """A deployment whose code has one more schema revision than the real code."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", NEWER_CODE, *arguments]
