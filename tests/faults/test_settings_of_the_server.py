"""Commands that forget the app, or the issuer, of the server that uses their database: they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask

from tests.support.app import ENCRYPTION_KEY
from valetkey import Valetkey
from valetkey.cli import main

APP = """
from flask import Flask
from valetkey import Valetkey
app = Flask("shop")
Valetkey(app, audit_retention_days=0)
"""
PUBLIC_ISSUER = "https://shop.example"
Run = Callable[..., Result]


@pytest.fixture
def run(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command on a database with tables and keys."""
    monkeypatch.setenv("VALETKEY_DATABASE_URL", store_url)
    monkeypatch.setenv("VALETKEY_ENCRYPTION_KEYS", ENCRYPTION_KEY)
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str) -> Result:
        monkeypatch.delenv("VALETKEY_APP", raising=False)  # a command sets it
        return CliRunner().invoke(main, arguments)

    return run_command


def serve(**options: Any) -> None:
    """Do what a server does that gets its first request."""
    app = Flask("shop")
    Valetkey(app, **options)
    app.extensions["valetkey"].get_ready()
    app.extensions["valetkey"].close()


def sign_in() -> str | None:
    return None


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({"audit_retention_days": 0}, "prune"),
        ({"unused_registration_days": 0}, "prune"),
        ({"mail_link_lifetime": 600}, "work --once"),
        ({"access_token_lifetime": 86_400}, "keys rotate"),
        ({"resource_owner": sign_in}, "work --once"),
        ({"issuer": PUBLIC_ISSUER}, "work --once"),
        ({"env_prefix": "SHOP_"}, "prune"),
    ],
)
def test_a_command_that_needs_a_setting_in_the_code_of_the_app_is_refused_without_the_app(
    options: dict[str, Any], command: str, run: Run, store_url: str
) -> None:
    if "env_prefix" in options:
        options = {**options, "database_url": store_url}
    serve(**options)

    result = run(*command.split())

    assert result.exit_code == 1
    assert f"the code of the app shop, which uses this database, sets {next(iter(options))}" in result.output
    assert "pass --app, or set VALETKEY_APP" in result.output


def test_a_setting_that_is_the_same_without_the_code_of_the_app_is_not_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALETKEY_UNUSED_REGISTRATION_DAYS", "30")
    serve(audit_retention_days=365, unused_registration_days=30)

    result = run("prune")

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "command",
    ["--app shop.py prune", "keys rotate", "keys list", "audit tail", "usage", "outbox list", "users list", "init"],
)
def test_a_command_with_the_app_or_that_does_not_need_the_setting_is_not_refused(run: Run, command: str) -> None:
    serve(audit_retention_days=0, scopes={"notes:read": "Read your notes"})

    result = run(*command.split())

    assert result.exit_code == 0, result.output


def test_settings_in_the_environment_are_those_of_commands_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALETKEY_AUDIT_RETENTION_DAYS", "0")
    monkeypatch.setenv("VALETKEY_ISSUER", PUBLIC_ISSUER)
    serve()
    assert run("prune").exit_code == 0

    monkeypatch.setenv("VALETKEY_ISSUER", "https://new.example")  # the server is not restarted yet
    assert run("prune").exit_code == 0


def test_a_command_without_the_public_issuer_of_the_server_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALETKEY_ISSUER", PUBLIC_ISSUER)
    serve()
    monkeypatch.delenv("VALETKEY_ISSUER")

    result = run("work", "--once")

    assert result.exit_code == 1
    assert f"no issuer is set here: set VALETKEY_ISSUER={PUBLIC_ISSUER}" in result.output


def test_the_server_that_started_last_counts(run: Run) -> None:
    serve(audit_retention_days=0)
    serve()
    assert run("prune").exit_code == 0


def test_a_command_is_no_server(run: Run) -> None:
    assert run("--app", "shop.py", "prune").exit_code == 0
    assert run("prune").exit_code == 0
