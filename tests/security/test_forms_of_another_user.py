"""A form counts only for the user to whom its page was shown, also if the users are the host app's."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import (
    CALLBACK,
    EMAIL,
    Browser,
    redirect_parameters,
    sign_in_new_account,
    sign_in_to_account,
)
from tests.support.form import Form, parse_forms
from valetkey import Owner
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime

PLAIN_SENTENCE = "You have signed in or out since this form was opened, perhaps as another user."


class Host:
    """The accounts of a host app, and who is signed in."""

    def __init__(self) -> None:
        self.signed_in: Owner | None = Owner("alice", name="Alice")

    def current(self) -> Owner | None:
        return self.signed_in

    def sign_in_url(self, next: str, **_: Any) -> str:
        return "/login"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        return {}

    def sign_out(self) -> None:
        self.signed_in = None


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str, host: Host) -> Flask:
    return make_app(sqlite_store_url, resource_owner=host)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return make_browser(app)


def make_browser(app: Flask) -> Browser:
    """Return a browser without cookies, and the client Shop."""
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    return Browser(app.test_client(), shop)


def open_form(browser: Browser, path: str, *, with_field: str = "csrf_token") -> tuple[str, Form]:
    """Load a page, and return its path and the last of its forms that has a field."""
    forms = [form for form in parse_forms(browser.get(path).text) if form.has_field(with_field)]
    return path, forms[-1]


def submit(browser: Browser, page: tuple[str, Form], values: dict[str, Any]) -> TestResponse:
    """Submit a form of a page with these values instead of those that the page has."""
    path, form = page
    return browser.http.post(form.action or path, data={**dict(form.fields), **values})


def test_a_consent_page_that_alice_opened_gives_no_code_for_bob(browser: Browser, host: Host) -> None:
    page = open_form(browser, browser.authorize().location)
    host.signed_in = Owner("bob", name="Bob")

    refused = submit(browser, page, {"decision": "allow", "scope": "profile"})

    assert (refused.status_code, refused.location) == (400, None)
    assert PLAIN_SENTENCE in refused.text and "<bdi>Bob</bdi>" in refused.text and "Alice" not in refused.text
    bobs_page = page[0], parse_forms(refused.text)[-1]
    allowed = submit(browser, bobs_page, {"decision": "allow", "scope": "profile"})
    tokens = browser.redeem(redirect_parameters(allowed)["code"]).json or {}
    assert browser.call(tokens["access_token"]).json["user"] == "bob"


def test_a_personal_token_form_that_alice_opened_creates_no_token_for_bob(browser: Browser, host: Host) -> None:
    page = open_form(browser, "/account/tokens/new", with_field="submission")
    host.signed_in = Owner("bob")

    refused = submit(browser, page, {"name": "backup", "expires_in": "30", "scope": "profile"})

    assert refused.status_code == 400
    assert PLAIN_SENTENCE in refused.text and "vk_pat_" not in refused.text
    assert "You have no tokens" in browser.get("/account/tokens").text


def test_a_button_that_was_shown_to_alice_revokes_nothing_of_bob(browser: Browser, host: Host) -> None:
    tokens = {}
    for name in ("bob", "alice"):
        host.signed_in = Owner(name)
        tokens[name] = browser.obtain_tokens()["access_token"]
    page = open_form(browser, "/account")
    assert page[1].action.startswith("/account/revoke")
    host.signed_in = Owner("bob")

    refused = submit(browser, page, {})

    assert refused.status_code == 400
    assert PLAIN_SENTENCE in refused.text and "reload the page" in refused.text
    assert [browser.call(token).status_code for token in tokens.values()] == [200, 200]


def test_a_device_page_that_alice_opened_connects_no_device_of_bob(browser: Browser, host: Host) -> None:
    page = open_form(browser, "/device", with_field="csrf_token")
    host.signed_in = Owner("bob")

    refused = submit(browser, page, {"user_code": "BCDF-GHJK"})

    assert refused.status_code == 400 and PLAIN_SENTENCE in refused.text


def test_a_logout_page_that_alice_opened_does_not_sign_bob_out(browser: Browser, host: Host) -> None:
    page = open_form(browser, "/oauth/logout")
    host.signed_in = Owner("bob")

    refused = submit(browser, page, {"decision": "leave"})

    assert refused.status_code == 400 and PLAIN_SENTENCE in refused.text
    assert host.signed_in is not None


def test_a_page_of_an_earlier_session_of_the_same_user_is_shown_again(browser: Browser, host: Host) -> None:
    host.signed_in = Owner("alice", sid="first")
    page = open_form(browser, browser.authorize().location)
    host.signed_in = Owner("alice", sid="second")

    assert submit(browser, page, {"decision": "allow", "scope": "profile"}).status_code == 400


@pytest.mark.parametrize("path", ["/account/revoke?client_id=x", "/account/tokens/revoke?token_id=x"])
def test_who_has_signed_out_since_is_asked_to_sign_in(browser: Browser, host: Host, path: str) -> None:
    page = path, open_form(browser, "/account/tokens/new")[1]
    page[1].action = path
    host.signed_in = None

    assert submit(browser, page, {}).location == "/login"


def test_a_sign_in_in_another_tab_is_named_for_built_in_accounts_too(make_app: MakeApp, sqlite_store_url: str) -> None:
    browser = make_browser(make_app(sqlite_store_url))
    runtime: Runtime = browser.http.application.extensions["valetkey"]
    sign_in_new_account(browser, runtime, EMAIL, "Ada")
    page = open_form(browser, browser.authorize().location)
    browser_cookie = browser.http.get_cookie("valetkey_browser")
    assert browser_cookie is not None
    sign_in_to_account(browser, runtime, "ada")
    browser.http.set_cookie("valetkey_browser", browser_cookie.value)

    refused = submit(browser, page, {"decision": "allow", "scope": "profile"})

    assert refused.status_code == 400 and PLAIN_SENTENCE in refused.text
