"""Assertions about prompts of the authorization endpoint."""

from __future__ import annotations

from tests.support.browser_client import Browser, redirect_parameters


def assert_prompts(browser: Browser, redirect_uri: str) -> None:
    """Allow a request, and assert that the same request needs a prompt again, also with ``prompt=none``."""
    for _ in range(2):
        page = browser.authorize(redirect_uri=redirect_uri)
        assert "/oauth/consent/" in page.location
        assert "code" in redirect_parameters(browser.approve(page.location))
    silent = redirect_parameters(browser.authorize(redirect_uri=redirect_uri, prompt="none"))
    assert silent["error"] == "consent_required"
