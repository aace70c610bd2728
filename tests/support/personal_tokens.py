"""Create, read and revoke personal access tokens of an app's users, without the pages."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.support.browser_client import Browser
from valetkey.authorization_server.personal_tokens.service import (
    CreatedToken,
    TokenSpec,
    create_personal_token,
    revoke_personal_token,
)
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime

DAY_S = 86400.0
MANAGE_SCOPE = "tokens:manage"
TOKEN_REQUEST = {"name": "CI", "scope": "profile", "expires_in": 86400}


def create_token(
    app: Flask, *scope: str, lifetime_s: float = 30 * DAY_S, sub: str = "ada", **fields: Any
) -> CreatedToken:
    """Create a personal access token, by default Ada's, with the scope ``profile`` and a lifetime of 30 days."""
    runtime: Runtime = app.extensions["valetkey"]
    now = runtime.clock()
    spec = TokenSpec("Backup", frozenset(scope or ("profile",)), now + lifetime_s, **fields)
    with app.test_request_context():
        return create_personal_token(spec, Owner(sub), runtime, now, "192.0.2.1")


def value_of(created: CreatedToken) -> str:
    """Return the token as its owner gets it."""
    return created.secret.reveal()


def revoke_token(app: Flask, created: CreatedToken) -> bool:
    """Revoke a personal access token. Return ``False`` if it was revoked before."""
    runtime: Runtime = app.extensions["valetkey"]
    return revoke_personal_token(created.token, runtime.store, runtime.clock(), None)


def open_managing_app(ada: Browser, managing_app: Flask, *scope: str) -> tuple[Browser, dict[str, str]]:
    """Return Ada's browser at that server, and the header of an access token that may manage personal tokens."""
    browser = Browser(managing_app.test_client(), ada.client)
    for cookie in ("valetkey_browser", "valetkey_session"):
        stored = ada.http.get_cookie(cookie)
        assert stored
        browser.http.set_cookie(cookie, stored.value)
    token = browser.obtain_tokens(scope=(*scope, MANAGE_SCOPE))["access_token"]
    return browser, {"Authorization": f"Bearer {token}"}
