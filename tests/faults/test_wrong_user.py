"""A command that another user than the server's runs, and a server without access to its files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.refused_commands import refusal_messages, without_root_rights
from tests.support.valetkey_server import Deployment

COMMANDS = ("users list", "check", "keys list", "prune", "init", "db version", "db upgrade", "backup copy.db", "serve")
NOBODY = 65534
REQUESTS = """
import sys
from valetkey.service import create_app
app = create_app(data_dir=sys.argv[1], readiness_path="/readyz", env_prefix=None, embedded_worker=False)
ready = app.test_client().get("/readyz")
keys = app.test_client().get(app.extensions["valetkey"].settings.oauth_path + "/jwks")
print(ready.status_code, ready.json["checks"]["store"], keys.status_code)
"""


def make_inaccessible(folder: Path) -> None:
    """Give a folder to another user, or if the test is not run by root, lock its own user out of it."""
    if os.geteuid():
        folder.chmod(0)
    else:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o700)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose data directory only another user can search."""
    folder = tmp_path / "var"
    folder.mkdir()
    deployment = Deployment(folder)
    deployment.run("init")
    make_inaccessible(folder)
    yield deployment
    folder.chmod(0o700)


def test_a_command_of_another_user_says_to_run_it_as_the_user_of_the_server(deployment: Deployment) -> None:
    messages = refusal_messages(deployment, *COMMANDS, prefix=without_root_rights(), cwd=deployment.data_dir.parent)

    assert len(messages) == len(COMMANDS)
    for message in messages:
        assert str(deployment.data_dir) in message and "run this as the user of the server" in message


def test_a_self_signed_certificate_of_another_user_is_refused_in_a_sentence(deployment: Deployment) -> None:
    command = f"serve --port {deployment.port} --tls-self-signed"
    [message] = refusal_messages(deployment, command, prefix=without_root_rights(), cwd=deployment.data_dir.parent)
    assert "run this as the user of the server" in message


def test_an_encryption_key_that_cannot_be_read_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    (tmp_path / "encryption.key").chmod(0)

    for message in refusal_messages(deployment, "check", "init", prefix=without_root_rights()):
        assert f"{tmp_path / 'encryption.key'} cannot be accessed (Permission denied)" in message


def test_a_backup_into_a_folder_of_another_user_is_refused_in_a_sentence(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    folder = tmp_path / "backups"
    folder.mkdir()
    make_inaccessible(folder)

    [message] = refusal_messages(deployment, f"backup {folder / 'copy.db'}", prefix=without_root_rights())

    folder.chmod(0o700)
    assert f"{folder / 'copy.db'} cannot be accessed" in message


def test_a_server_without_access_to_its_files_responds_503(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    make_inaccessible(folder)

    output = subprocess.check_output(
        [*without_root_rights(), sys.executable, "-c", REQUESTS, folder], text=True, cwd=tmp_path
    )

    folder.chmod(0o700)
    assert output.split() == ["503", "failed", "503"]
