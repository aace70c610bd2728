"""Keys that are made once, the issuer that was served last, and settings in the environment that nobody reads."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from tests.support.program import free_port
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey import Valetkey
from valetkey.settings import sources


def valetkey(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody does who has set nothing else."""
    plain = {name: value for name, value in Deployment(folder).environment.items() if not name.startswith("VALETKEY_")}
    return subprocess.run(
        [sys.executable, "-m", "valetkey", *arguments],
        cwd=folder,
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_of_encryption_keys_is_made_once(tmp_path: Path) -> None:
    first = valetkey(tmp_path, "keys", "new", "--file", "valetkey.keys").stdout
    again = valetkey(tmp_path, "keys", "new", "--file", "valetkey.keys").stdout

    assert first == again
    assert len(first.strip()) == 44
    assert stat.S_IMODE((tmp_path / "valetkey.keys").stat().st_mode) == 0o600
    assert valetkey(tmp_path, "keys", "new").stdout != first


@pytest.mark.parametrize(("name", "said"), [("no/such/folder", "No such file"), ("empty", "holds no key")])
def test_a_file_of_keys_that_cannot_be_is_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").touch()
    done = valetkey(tmp_path, "keys", "new", "--file", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_other_encryption_keys_are_told_with_the_way_back(tmp_path: Path) -> None:
    assert valetkey(tmp_path, "init").returncode == 0
    key = valetkey(tmp_path, "keys", "new").stdout.strip()

    refused = valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=key)

    assert refused.returncode == 1
    assert "var/encryption.key: remove encryption_keys" in refused.stderr
    both = f"{key},{(tmp_path / 'var' / 'encryption.key').read_text().strip()}"
    assert valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=both).returncode == 0
    (tmp_path / "var" / "encryption.key").unlink()
    assert "with new keys in front" in valetkey(tmp_path, "init", VALETKEY_ENCRYPTION_KEYS=key).stderr


def test_a_command_has_the_issuer_that_was_served_last(tmp_path: Path) -> None:
    port = free_port()
    served = Deployment(tmp_path, settings={"issuer": f"http://127.0.0.1:{port}"}, port=port)
    with RunningServer(served):
        pass

    listed = valetkey(tmp_path, "resources", "list", VALETKEY_DATA_DIR=str(tmp_path)).stdout
    login = valetkey(tmp_path, "--data-dir", str(tmp_path), "login", "--no-browser").stderr

    assert f"http://127.0.0.1:{port}" in listed
    assert f"http://127.0.0.1:{port} does not answer" in login, "it is served no longer"


def test_serving_under_another_name_is_told(tmp_path: Path) -> None:
    with RunningServer(Deployment(tmp_path)) as first:
        assert "was served as" not in first.log
    with RunningServer(Deployment(tmp_path)) as second:
        assert f"Note: this store was served as {first.issuer} before" in second.log


def warnings_at_first_request(app: Flask, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.WARNING, "valetkey"):
        app.test_client().get("/nowhere")
        app.test_client().get("/nowhere")
    return caplog.text


def test_variables_that_nobody_reads_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "_COMMAND_VALUES", ({}, {}))
    monkeypatch.setenv("VALETKEY_SITE_NAME", "Mine")
    monkeypatch.setenv("VALETKEY_ISSUER", "http://127.0.0.1:8000")
    monkeypatch.setenv("VALETKEY_DATABASE_URL", "postgresql://user:hidden@db/x")
    app = Flask("host")
    Valetkey(app, data_dir=str(tmp_path), issuer="http://127.0.0.1:8000")

    told = warnings_at_first_request(app, caplog)

    assert told.count("VALETKEY_DATABASE_URL, VALETKEY_SITE_NAME in the environment has no effect here") == 1
    assert "ISSUER" not in told, "it has the same value"
    assert "hidden" not in told


def test_variables_that_the_command_read_are_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "_COMMAND_VALUES", ({"site_name": "Mine"}, {}))
    monkeypatch.setenv("VALETKEY_SITE_NAME", "Mine")
    app = Flask("host")
    Valetkey(app, data_dir=str(tmp_path))

    assert warnings_at_first_request(app, caplog) == ""


@pytest.mark.parametrize(
    ("issuer", "host", "warns"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:5000", True),
        ("http://127.0.0.1:8000", "localhost:5000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000", "localhost", False),
        ("http://127.0.0.1:8000", "localhost:no", False),
        ("https://api.example.com", "127.0.0.1:5000", False),
    ],
)
def test_who_serves_on_another_port_than_the_issuers_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, issuer: str, host: str, warns: bool
) -> None:
    """As `flask run` does."""
    app = Flask("host")
    Valetkey(app, data_dir=str(tmp_path), issuer=issuer)

    with caplog.at_level(logging.WARNING, "valetkey"):
        for _ in range(2):
            app.test_client().get("/nowhere", headers={"Host": host})

    assert caplog.text.count(f"set issuer='http://{host}'") == int(warns)
