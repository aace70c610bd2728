"""Fixtures: a provider, an app on each database whose users can sign in with it, its runtime, and a browser."""

from __future__ import annotations

from tests.support.provider_fixtures import app, browser, provider, runtime

__all__ = ["app", "browser", "provider", "runtime"]
