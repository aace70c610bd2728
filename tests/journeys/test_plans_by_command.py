"""An operator and plans: list, set, approve, and who called what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from valetkey.cli import main

PLANS = {"free": {"quota": "10/month", "scopes": "profile"}, "pro": {"limit": "100/minute", "approval": "manual"}}


def test_plans_from_the_first_to_an_approved_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VALETKEY_APP", "VALETKEY_DATA_DIR", "_VALETKEY_LAST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("valetkey.settings.sources._COMMAND_VALUES", ({}, {}))
    monkeypatch.setenv("VALETKEY_SCOPES", json.dumps({"profile": "See your name"}))
    monkeypatch.setenv("VALETKEY_PLANS", json.dumps(PLANS))
    monkeypatch.setenv("VALETKEY_DEFAULT_PLAN", "free")

    def run(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), *words])
        assert done.exit_code == status, done.output
        return done.output

    def told(*words: str) -> Any:
        return json.loads(run(*words, "--json"))

    run("init")
    robot = told("clients", "create", "--name", "Robot", "--policy", "machine")["client_id"]
    assert "free (default)" in run("plans", "list")
    assert "there is no plan gold" in run("plans", "set", robot, "gold", status=1)
    assert "there is no client nobody" in run("plans", "set", "nobody", "pro", status=1)
    assert told("plans", "set", robot, "pro") == {"client_id": robot, "plan": "free", "wanted": "pro"}
    assert f"{robot:<22} free, waits for pro" in run("plans", "list")
    assert told("usage", "--client", robot)["remaining"] == 10
    assert told("plans", "approve", robot) == {"client_id": robot, "plan": "pro"}
    assert "has no pending request for a plan" in run("plans", "approve", robot, status=1)
    assert [one["plan"] for one in told("plans", "list")["subscriptions"]] == ["pro"]
    assert told("plans", "set", robot, "free")["plan"] == "free"
    assert told("plans", "set", robot, "pro", "--approved")["plan"] == "pro"
    assert "No calls in the last 30 days" in run("usage")
