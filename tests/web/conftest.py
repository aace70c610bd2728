"""Two apps on one store: machine endpoints respond through Flask in one, and before it in the other."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import MapAdapter

from tests.support.app import MakeApp


@pytest.fixture
def flask_app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url, endpoints_bypass_flask=False)


@pytest.fixture
def bypass_app(make_app: MakeApp, sqlite_store_url: str, flask_app: Flask) -> Flask:
    """An app on the same store whose endpoints respond without Flask."""
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.test_client().get("/oauth/jwks")  # Flask handles the first request, with the checks before it
    return app


@pytest.fixture
def in_flask(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that Flask has handled."""
    paths: list[str] = []
    match = MapAdapter.match

    def record(adapter: MapAdapter, *arguments: Any, **options: Any) -> Any:
        paths.append(adapter.path_info)
        return match(adapter, *arguments, **options)

    monkeypatch.setattr(MapAdapter, "match", record)
    return paths
