"""Clients that register themselves or change, for the tests of consent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from tests.support.browser_client import CALLBACK, Browser, redirect_parameters

Change = Callable[..., None]  # the fixture change_metadata: (client, policy=None, **members)
PublishDocument = Callable[..., str]  # the fixture publish_document: (**members)
DOCUMENT_LIFETIME_S = 3600  # after this time a metadata document is fetched again


def needs_prompt(browser: Browser, **parameters: str | None) -> bool:
    """Return whether an authorization request is answered with a page, with and without ``prompt=none``."""
    response, silent = browser.authorize(**parameters), browser.authorize(prompt="none", **parameters)
    is_page = "/oauth/consent/" in response.location
    error = redirect_parameters(silent).get("error")
    assert error == ("consent_required" if is_page else None)
    return is_page


def register_itself(app: Flask, **metadata: Any) -> dict[str, Any]:
    """Register a client as a client does, and return the client information response (RFC 7591 §3.2.1)."""
    response = app.test_client().post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata})
    assert response.status_code == 201, response.text
    return dict(response.json)


def with_cookies_of(browser: Browser, app: Flask) -> Any:
    """Return a test client of another app on the same database, in which the browser's user is signed in."""
    http = app.test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        http.set_cookie(name, browser.http.get_cookie(name).value)
    return http
