"""Tests that use ``valetkey.testing`` ignore environment variables, whether the app was created before or after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE_VARIABLES = {
    "VALETKEY_ISSUER": "https://production.example.com",
    "VALETKEY_DATABASE_URL": "postgresql://production.invalid/valetkey",
    "VALETKEY_REDIS_URL": "redis://production.invalid",
    "VALETKEY_ENCRYPTION_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
    "VALETKEY_SITE_NAME": "Production",
    "VALETKEY_ACCESS_TOKEN_LIFETIME": "1",
    "VALETKEY_SCOPES": "{}",
    "VALETKEY_ACCOUNT_PATH": "/elsewhere",
}
APP = """
from flask import Flask, jsonify
from valetkey import Valetkey, current_token, require_oauth


def create_app():
    app = Flask("shop")
    app.config["VALETKEY_SITE_NAME"] = "Shop"
    Valetkey(app, scopes={"orders:read": "See your orders"})

    @app.get("/api/orders")
    @require_oauth("orders:read")
    def orders():
        return jsonify(of=current_token.user_id)

    return app


app = create_app()
"""
CONFTEST = """
import pytest
import shop

pytest_plugins = ["valetkey.testing"]


@pytest.fixture
def app():
    return shop.{expression}
"""
TEST = """
def test_orders(app, headers_for):
    client = app.test_client()
    assert client.get("/api/orders", headers=headers_for("orders:read", user_id="ada")).json == {"of": "ada"}
    settings = app.extensions["valetkey"].settings
    assert settings.site_name == "Shop" and settings.redis_url is None
    assert settings.account_path == "{account_path}"
    assert settings.issuer == "http://127.0.0.1:8000" and settings.access_token_lifetime > 1
"""


@pytest.mark.parametrize(("expression", "account_path"), [("app", "/elsewhere"), ("create_app()", "/account")])
def test_hostile_environment_variables_do_not_reach_the_app_under_test(
    tmp_path: Path, expression: str, account_path: str
) -> None:
    """Only the routes of an app that was created before ``valetkey.testing`` was imported keep their paths."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("{expression}", expression))
    (tmp_path / "test_orders.py").write_text(TEST.replace("{account_path}", account_path))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**inherited, **HOSTILE_VARIABLES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_test_suite_ignores_the_environment() -> None:
    tests = Path(__file__).parents[1] / "settings" / "test_sources.py"

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", "precedes or second_app"],
        env={**os.environ, **HOSTILE_VARIABLES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "2 passed" in run.stdout, run.stdout + run.stderr
