"""Fixtures: a provider, an app on SQLite whose users can sign in with it, and a browser."""

from __future__ import annotations

import pytest

from tests.support.provider_fixtures import app, browser, provider

__all__ = ["app", "browser", "provider", "store_url"]


@pytest.fixture
def store_url(sqlite_store_url: str) -> str:
    return sqlite_store_url
