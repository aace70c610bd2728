"""Tests with ``valetkey.testing`` of an app with a ``ResourceServer``, which cannot generate tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from valetkey import ResourceServer, SettingsError
from valetkey.testing import headers_for, mint_token, throw_away_store

CONFTEST = """
import pytest
from flask import Flask
from valetkey import ResourceServer, require_oauth

pytest_plugins = ["valetkey.testing"]


@pytest.fixture
def app(tmp_path):
    app = Flask("api")
    ResourceServer(
        app, trusted_issuers=["https://issuer.example"], resource="https://api.example", data_dir=str(tmp_path)
    )
    app.add_url_rule("/api/orders", "orders", require_oauth("orders:read")(lambda: "orders"))
    return app
"""
TEST = """
def test_a_call_without_a_token_is_refused(app):
    assert app.test_client().get("/api/orders").status_code == 401
"""


def test_the_plugin_leaves_an_app_with_a_resource_server_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_orders.py").write_text(TEST)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "PYTEST_"))}

    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "1 passed" in finished.stdout, finished.stdout + finished.stderr


@pytest.mark.parametrize("function", [mint_token, headers_for])
def test_a_token_for_an_app_with_a_resource_server_raises_a_sentence(
    tmp_path: Path, function: Callable[..., object]
) -> None:
    app = Flask("api")
    ResourceServer(
        app, trusted_issuers=["https://issuer.example"], resource="https://api.example", data_dir=str(tmp_path)
    )
    sentence = "the app 'api' has a ResourceServer, and no Valetkey that could sign a token: in tests, use Valetkey"

    with pytest.raises(SettingsError, match=sentence):
        function(app, "orders:read")
    with pytest.raises(SettingsError, match=sentence), throw_away_store(app):
        pass
