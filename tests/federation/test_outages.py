"""A provider that fails during a sign-in: who can sign in all the same, and what a reload of the page says."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, connect, list_accounts, press
from tests.support.user import PASSWORD
from valetkey import GitHub
from valetkey.accounts.sign_up import create_account
from valetkey.runtime import Runtime
from valetkey.storage import provider_links

UNREACHABLE = "cannot be reached at the moment"
WITHOUT_ADDRESS: dict[str, Any] = {"email": None, "email_verified": None}


@pytest.fixture
def ada_in_browser(app: Flask, browser: ProviderBrowser, clock: Clock) -> ProviderBrowser:
    """The browser of Ada, who has signed in with her password."""
    runtime: Runtime = app.extensions["valetkey"]
    create_account(runtime.store, clock(), name="Ada", email="ada@example.org", password=PASSWORD)
    browser.sign_in_with_password("ada@example.org")
    return browser


def test_a_connected_user_signs_in_without_a_request_to_userinfo(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.userinfo = {"sub": "ada-1", "email": "ada@example.org", "email_verified": True}
    browser.sign_in(**WITHOUT_ADDRESS)
    provider.pages["/userinfo"] = (503, {})
    provider.requests.clear()
    other = browser_of(app, provider)

    assert other.sign_in(**WITHOUT_ADDRESS).status_code == 303

    assert "/userinfo" not in [path for path, _ in provider.requests]
    assert len(list_accounts(app)) == 1


def test_a_new_user_is_refused_while_userinfo_fails(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.pages["/userinfo"] = (503, {})

    assert UNREACHABLE in browser.sign_in(**WITHOUT_ADDRESS).text

    assert list_accounts(app) == []


def test_a_provider_is_connected_although_userinfo_fails(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.pages["/userinfo"] = (503, {})

    assert connect(ada_in_browser, **WITHOUT_ADDRESS).status_code == 303

    runtime: Runtime = app.extensions["valetkey"]
    (link,) = provider_links.list_of_account(runtime.store, list_accounts(app)[0].sub)
    assert link.email is None


def test_a_connected_user_of_github_signs_in_while_the_addresses_cannot_be_fetched(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[GitHub(CLIENT_ID, CLIENT_SECRET, url=provider.url)])
    address = {"email": "ada@example.org", "primary": True, "verified": True}
    provider.pages = {
        "/login/oauth/access_token": (200, {"access_token": "gho_1", "token_type": "bearer"}),
        "/api/v3/user": (200, {"id": 7, "login": "ada"}),
        "/api/v3/user/emails": (200, [address]),
    }

    def sign_in() -> int:
        browser = browser_of(app, provider, "github")
        state = parse_qs(urlsplit(browser.begin().location).query)["state"][0]
        return browser.finish({"code": "c", "state": state}).status_code

    assert sign_in() == 303
    provider.pages["/api/v3/user/emails"] = (404, {"message": "Not Found"})

    assert sign_in() == 303


@pytest.mark.parametrize(
    "reply", [(429, {"message": "slow down"}), (200, {}), (200, {"access_token": 5}), (201, {"access_token": "at"})]
)
def test_a_token_response_that_is_none_refuses_the_sign_in(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, reply: tuple[int, Any]
) -> None:
    provider.token_response = lambda form: reply

    assert UNREACHABLE in browser.sign_in().text

    assert list_accounts(app) == []


def test_a_reload_of_the_page_after_a_failed_sign_in_does_not_say_that_it_was_completed(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    answer = provider.answer(browser.begin(next="/device").location)
    provider.pages["/token"] = (503, {})
    assert UNREACHABLE in browser.finish(answer).text

    response = browser.finish(answer)

    assert response.status_code == 400
    assert "Example has answered this sign-in already. Start it again." in response.text
    assert 'name="next" value="/device"' in response.text


def test_a_reload_of_the_page_after_a_failed_connection_does_not_look_like_success(
    ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    answer = provider.answer(press(ada_in_browser, "connect").location)
    provider.pages["/token"] = (503, {})
    assert UNREACHABLE in ada_in_browser.finish(answer).text

    response = ada_in_browser.finish(answer)

    assert response.status_code == 400
    assert "Example has answered this sign-in already. Start it again." in response.text


def test_a_reload_of_the_page_after_a_connection_continues(
    ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    answer = provider.answer(press(ada_in_browser, "connect").location)
    ada_in_browser.finish(answer)

    assert ada_in_browser.finish(answer).location == "/account"


@pytest.mark.parametrize("old_keys", ["remain", "are gone"])
def test_a_key_at_a_new_jwks_uri_is_found_although_the_metadata_is_cached(
    browser: ProviderBrowser, provider: FakeProvider, clock: Clock, old_keys: str
) -> None:
    assert browser.sign_in().status_code == 303
    old = provider.reply("GET", "/keys", {}, "")
    provider.rotate_keys()
    provider.pages["/moved"] = provider.reply("GET", "/keys", {}, "")
    provider.pages["/keys"] = old if old_keys == "remain" else (404, {})
    provider.metadata = {"jwks_uri": f"{provider.issuer}/moved"}
    clock.forward(61)

    assert browser.sign_in().status_code == 303
