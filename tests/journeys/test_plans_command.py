"""``valetkey plans`` and ``usage``: list, set and approve plans; show quotas and calls."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from valetkey.cli import main

PLANS = {"free": {"quota": "10/month", "scopes": "profile"}, "pro": {"limit": "100/minute", "approval": "manual"}}


def test_a_plan_is_approved_or_set_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALETKEY_SCOPES", json.dumps({"profile": "See your name"}))
    monkeypatch.setenv("VALETKEY_PLANS", json.dumps(PLANS))
    monkeypatch.setenv("VALETKEY_DEFAULT_PLAN", "free")

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, ["--data-dir", str(tmp_path), *arguments])
        assert result.exit_code == status, result.output
        return result.output

    def run_json(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--json"))

    run("init")
    robot = run_json("clients", "create", "--name", "Robot", "--policy", "machine")["client_id"]
    assert "free (default)" in run("plans", "list")
    assert "there is no plan gold" in run("plans", "set", robot, "gold", status=1)
    assert "unknown client nobody" in run("plans", "set", "nobody", "pro", status=1)
    assert run_json("plans", "set", robot, "free")["plan"] == "free"
    with closing(sqlite3.connect(tmp_path / "valetkey.db")) as database:  # as the app does at /oauth/plan
        database.execute("UPDATE valetkey_subscriptions SET wanted = 'pro'")
        database.commit()
    assert f"{robot:<22} free, waits for pro" in run("plans", "list")
    assert run_json("usage", "--client", robot)["remaining"] == 10
    assert run_json("plans", "approve", robot) == {"client_id": robot, "plan": "pro"}
    assert "has no pending request for a plan" in run("plans", "approve", robot, status=1)
    assert [subscription["plan"] for subscription in run_json("plans", "list")["subscriptions"]] == ["pro"]
    assert run_json("plans", "set", robot, "free")["plan"] == "free"
    assert run_json("plans", "set", robot, "pro")["plan"] == "pro"
    assert "No calls in the last 30 days" in run("usage")
