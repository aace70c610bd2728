"""``valetkey check`` and ``valetkey serve`` say what is wrong with an app before it is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from valetkey import Valetkey
from valetkey.cli import main

PUBLIC = "https://api.example.com"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Function that writes an app with these arguments of ``Valetkey`` and runs a command; it returns the output."""
    monkeypatch.chdir(tmp_path)
    for name in ("SECRET_KEY", "_VALETKEY_THREADS"):  # `valetkey serve` sets them
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def run_command(command: str, arguments: str = "", *, more: str = "", status: int = 0) -> str:
        program = f"import os\nfrom flask import Flask\nfrom valetkey import *\napp = Flask('shop')\n{more}\n"
        (tmp_path / "app.py").write_text(f"{program}Valetkey(app, {arguments})\n")
        result = CliRunner().invoke(main, ["--app", "app.py", command])
        assert result.exit_code == status, result.output
        return result.output

    return run_command


def test_check_names_a_decorator_above_a_route_decorator_and_does_not_ask_for_another(run: Run) -> None:
    route = '@require_oauth("notes:read")\n@app.get("/api/notes")\ndef notes(): return ""'

    output = run("check", "scopes={'notes:read': 'Read your notes'}", more=route, status=1)

    assert "problem: /api/notes: @require_oauth has no effect above" in output
    assert "add one" not in output


def test_check_names_scopes_without_a_route_but_not_those_for_claims(run: Run) -> None:
    scopes = dict.fromkeys(("profile", "email", "address", "phone", "groups", "orders"), "See it")

    output = run("check", f"scopes={scopes}, scope_claims={{'groups': ['groups']}}")

    assert [line for line in output.splitlines() if "no route uses" in line] == [
        "advice:  no route uses the scope 'orders'"
    ]


@pytest.mark.parametrize(
    ("arguments", "is_advised"), [("resource_owner=lambda: None", True), ("", False)], ids=["own users", "accounts"]
)
def test_check_advises_a_secret_key_if_the_app_signs_users_in(run: Run, arguments: str, is_advised: bool) -> None:
    assert ("the app has its own users and no secret key" in run("check", arguments)) == is_advised
    assert "no secret key" not in run("check", arguments, more="app.secret_key = 'of the app'")


@pytest.mark.parametrize("value", [None, ""])
def test_serve_generates_a_secret_key_if_the_variable_is_not_set_or_empty(
    run: Run, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("SECRET_KEY", value)
    monkeypatch.setattr("valetkey.cli.serve._run_server", lambda *_: None)

    output = run("serve", f"issuer={PUBLIC!r}", more="app.secret_key = os.environ['SECRET_KEY']")

    assert "SECRET_KEY, which is not set. A new one was generated" in output
    assert len(os.environ["SECRET_KEY"]) == 64


def test_check_reports_no_provider_on_this_machine_that_serve_reaches(run: Run) -> None:
    arguments = "sign_in_with=[OpenIDProvider('http://127.0.0.1:1', 'a', 'b', name='Local')]"

    assert "users cannot sign in with Local" not in run("check", arguments)
    assert "users cannot sign in with Local" in run("check", f"{arguments}, issuer='http://127.0.0.1:8000'")


def test_check_says_that_there_is_no_database_yet(run: Run, tmp_path: Path) -> None:
    message = f"no database at {tmp_path / 'var' / 'valetkey.db'}: run `valetkey init`"

    for issuer in (PUBLIC, "http://127.0.0.1:8000"):
        assert f"advice:  {message}" in run("check", f"issuer={issuer!r}")
    assert list(tmp_path.glob("**/*.db")) == []


@pytest.mark.parametrize(("issuer", "is_logged"), [(PUBLIC, True), ("http://127.0.0.1:8000", False)])
def test_a_public_server_that_creates_a_database_logs_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, issuer: str, is_logged: bool
) -> None:
    app = Flask("shop")
    Valetkey(app, issuer=issuer, data_dir=str(tmp_path), env_prefix=None)

    statuses = [app.test_client().get("/oauth/jwks", base_url=issuer).status_code for _ in range(2)]
    app.extensions["valetkey"].close()

    assert statuses == [200, 200]
    assert caplog.text.count(f"created a new database, {tmp_path / 'valetkey.db'}") == is_logged
