"""Key files, and the issuer that a data directory was served as last."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import free_port
from tests.support.valetkey_server import Deployment, RunningServer


def valetkey(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a ``valetkey`` command in a folder, with no other settings in the environment than these."""
    inherited = Deployment(folder).environment.items()
    without_settings = {name: value for name, value in inherited if not name.startswith("VALETKEY_")}
    return subprocess.run(
        [sys.executable, "-m", "valetkey", *arguments],
        cwd=folder,
        env=without_settings | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_keys_new_creates_a_key_file_only_once(tmp_path: Path) -> None:
    first = valetkey(tmp_path, "keys", "new", "--file", "valetkey.keys").stdout
    second = valetkey(tmp_path, "keys", "new", "--file", "valetkey.keys").stdout

    assert first == second
    assert len(first.strip()) == 44
    assert stat.S_IMODE((tmp_path / "valetkey.keys").stat().st_mode) == 0o600
    assert valetkey(tmp_path, "keys", "new").stdout != first


@pytest.mark.parametrize(("name", "message"), [("no/such/folder", "No such file"), ("empty", "contains no key")])
def test_keys_new_fails_with_a_message_if_the_file_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").touch()
    process = valetkey(tmp_path, "keys", "new", "--file", name)
    assert (process.returncode, process.stdout) == (1, "")
    assert message in process.stderr


def test_the_error_about_wrong_encryption_keys_says_how_to_fix_them(tmp_path: Path) -> None:
    assert valetkey(tmp_path, "init").returncode == 0
    key = valetkey(tmp_path, "keys", "new").stdout.strip()

    refused = valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=key)

    assert refused.returncode == 1
    assert "var/encryption.key: remove encryption_keys" in refused.stderr
    both = f"{key},{(tmp_path / 'var' / 'encryption.key').read_text().strip()}"
    assert valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=both).returncode == 0
    (tmp_path / "var" / "encryption.key").unlink()
    assert "put new keys in front of it" in valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=key).stderr


def test_commands_use_the_issuer_that_was_served_last(tmp_path: Path) -> None:
    port = free_port()
    deployment = Deployment(tmp_path, settings={"issuer": f"http://127.0.0.1:{port}"}, port=port)
    with RunningServer(deployment):
        pass

    resources = valetkey(tmp_path, "resources", "list", VALETKEY_DATA_DIR=str(tmp_path)).stdout
    login = valetkey(tmp_path, "--data-dir", str(tmp_path), "login", "--no-browser").stderr

    assert f"http://127.0.0.1:{port}" in resources
    assert f"http://127.0.0.1:{port} does not respond" in login, "the server has stopped"


def test_serve_prints_a_note_if_the_issuer_has_changed(tmp_path: Path) -> None:
    with RunningServer(Deployment(tmp_path)) as first:
        assert "was served as" not in first.log
    with RunningServer(Deployment(tmp_path)) as second:
        assert f"Note: this database was served as {first.issuer} before" in second.log
