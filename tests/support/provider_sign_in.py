"""A browser that signs in with a provider, in the process of the test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.every_table import open_engine, read_rows
from tests.support.fake_provider import FakeProvider, query
from tests.support.user import PASSWORD
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.accounts import Account
from valetkey.storage.tables import metadata

UNTRUSTED_RESPONSE = "sent a response that does not belong to this sign-in"


@dataclass
class ProviderBrowser:
    """The requests of a user's browser that signs in with a provider.

    :ivar provider_id: the provider whose button the user presses.
    """

    http: FlaskClient
    provider: FakeProvider
    provider_id: str = "example"

    def begin(self, page: str = "/account/sign-in", **fields: str) -> TestResponse:
        """Press the button of the provider on a page; the response redirects to the provider."""
        data = {"csrf_token": csrf_token(self.http.get(page)), **fields}
        return self.http.post(f"/account/sign-in/{self.provider_id}", data=data)

    def finish(self, parameters: dict[str, str]) -> TestResponse:
        """Return from the provider with the parameters of its response."""
        return self.http.get(f"/account/sign-in/{self.provider_id}/callback?{query(parameters)}")

    def sign_in(self, next: str = "", **claims: Any) -> TestResponse:
        """Sign in with the provider.

        :param next: local path to continue with.
        :param claims: changes of the claims in the ID token; ``None`` leaves one out.
        """
        begun = self.begin(next=next)
        assert begun.status_code == 303, begun.text
        return self.finish(self.provider.answer(begun.location, **claims))

    def sign_in_with_password(self, email: str) -> None:
        """Sign in to an account whose password is ``PASSWORD``."""
        data = {"csrf_token": csrf_token(self.http.get("/account/sign-in")), "email": email, "password": PASSWORD}
        assert self.http.post("/account/sign-in", data=data).status_code == 303

    def is_signed_in(self) -> bool:
        """Return whether the browser has a session."""
        return self.http.get("/account").status_code == 200


def browser_of(app: Flask, provider: FakeProvider, provider_id: str = "example") -> ProviderBrowser:
    """Return a browser without cookies."""
    return ProviderBrowser(app.test_client(), provider, provider_id)


def csrf_token(page: TestResponse) -> str:
    """Return the token of the forms on a page; an empty text if it has no form."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    return found[1] if found else ""


def press(browser: ProviderBrowser, action: str) -> TestResponse:
    """Press Connect or Disconnect of the browser's provider on the account page."""
    token = csrf_token(browser.http.get("/account"))
    return browser.http.post(f"/account/sign-in/{browser.provider_id}/{action}", data={"csrf_token": token})


def connect(browser: ProviderBrowser, **claims: object) -> TestResponse:
    """Connect the account to which the browser is signed in with the provider."""
    return browser.finish(browser.provider.answer(press(browser, "connect").location, **claims))


def list_accounts(app: Flask) -> list[Account]:
    """Return all accounts of an app."""
    runtime: Runtime = app.extensions["valetkey"]
    return accounts.list_all(runtime.store)


def assert_refused(response: TestResponse, browser: ProviderBrowser, sentence: str = UNTRUSTED_RESPONSE) -> None:
    """Check that a page says what went wrong and has other ways to sign in, and that nothing is stored."""
    text = response.text.replace("&#39;", "'")
    assert response.status_code == 400, text
    assert sentence in text
    assert "/account/sign-in" in text
    assert not browser.is_signed_in()
    app = browser.http.application
    runtime: Runtime = app.extensions["valetkey"]
    engine = open_engine(runtime.settings.store_url)
    for name in ("valetkey_accounts", "valetkey_sessions", "valetkey_provider_links"):
        assert read_rows(engine, metadata.tables[name]) == [], name
    engine.dispose()
