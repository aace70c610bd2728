"""Which scopes are ticked on the consent page: what a user unticked stays so, also after a sign-in or a later visit."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp, Register
from tests.support.browser_client import EMAIL, Browser, redirect_parameters, sign_in_new_account
from tests.support.form import Form, parse_forms
from tests.support.user import PASSWORD
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.runtime import Runtime

ALL = "notes:read notes:write profile"
LOSS = "The app then loses this permission on all your devices."


def consent_form(page: str) -> Form:
    [form] = [form for form in parse_forms(page) if "allow" in form.buttons]
    return form


def ticked(page: str) -> list[str]:
    """Return the scopes that are ticked on a consent page, sorted."""
    return sorted(value for _, value in consent_form(page).checked)


def next_path(sign_in: str) -> str:
    """Return the path at which the user continues after the sign-in page at this URL."""
    return parse_qs(urlsplit(sign_in).query)["next"][0]


def sign_in_again(browser: Browser, path: str) -> TestResponse:
    """Sign in to the account with a password, to continue at a path."""
    return browser.sign_in("ada.two@example.org", PASSWORD, next=path)


@pytest.fixture
def ada_with_password(app: Flask, ada: Browser) -> Browser:
    """A new browser, in which Ada has signed up with a password."""
    browser = Browser(app.test_client(), ada.client)
    browser.sign_up("ada.two@example.org")
    return browser


@pytest.mark.parametrize("keeps_cookie", [False, True], ids=["signed out", "session ended"])
def test_what_was_unticked_before_the_session_ended_stays_unticked_after_the_sign_in(
    ada_with_password: Browser, runtime: Runtime, keeps_cookie: bool
) -> None:
    browser = ada_with_password
    path = browser.authorize(scope=ALL).location
    form = consent_form(browser.get(path).text)
    cookie = browser.http.get_cookie("valetkey_session")
    browser.submit("/account/sign-out", {}, page_path="/account")
    if keeps_cookie and cookie:
        browser.http.set_cookie("valetkey_session", cookie.value)
    kept = {"decision": "allow", "scope": ["notes:read", "profile"]}

    sent_to_sign_in = browser.http.post(path, data={**dict(form.fields), **kept})
    browser.http.delete_cookie("valetkey_session")
    signed_in = sign_in_again(browser, next_path(sent_to_sign_in.location))

    assert "unticked=notes:write" in signed_in.location
    assert ticked(browser.get(signed_in.location).text) == ["notes:read", "profile"]


def test_what_was_unticked_is_not_issued_by_a_remembered_consent(ada: Browser) -> None:
    """One user unticks a scope, and another user with a consent signs in and continues."""
    ada.approve(ada.authorize(scope=ALL).location, scope=tuple(ALL.split()))
    path = ada.authorize(scope=ALL).location

    assert "code" in redirect_parameters(ada.authorize(scope=ALL))
    path = ada.authorize(scope=ALL, prompt="consent").location
    page = ada.get(f"{path}?unticked=notes:write")

    assert page.status_code == 200
    assert ticked(page.text) == ["notes:read", "profile"]


def test_what_was_unticked_is_no_hidden_field_beside_new_scopes(ada: Browser) -> None:
    ada.approve(ada.authorize(scope="notes:read notes:write").location, scope=("notes:read", "notes:write"))
    path = ada.authorize(scope=ALL).location

    page = ada.get(f"{path}?unticked=notes:write").text

    assert "notes:write" not in ticked(page)
    assert ("scope", "notes:write") not in consent_form(page).fields


def test_all_scopes_are_ticked_at_the_first_visit(ada: Browser) -> None:
    page = ada.get(ada.authorize(scope=ALL).location).text

    assert ticked(page) == ALL.split()
    assert "Not allowed so far" not in page and LOSS not in page


def test_a_scope_that_was_left_unticked_is_not_ticked_when_the_app_requests_it_again(ada: Browser) -> None:
    ada.approve(ada.authorize(scope=ALL).location, scope=("notes:read",))

    page = ada.get(ada.authorize(scope=ALL).location).text

    assert ticked(page) == []
    assert "Not allowed so far" in page and "New permissions" not in page
    assert "Tick what you want to allow now." in page and LOSS not in page


def test_a_new_scope_is_ticked_beside_one_that_was_left_unticked(ada: Browser) -> None:
    ada.approve(ada.authorize(scope="notes:read notes:write").location, scope=("notes:read",))

    page = ada.get(ada.authorize(scope=ALL).location).text

    assert ticked(page) == ["profile"]
    assert "Not allowed so far" in page and "New permissions" in page


def test_a_scope_that_the_user_allows_later_is_not_called_refused_any_more(ada: Browser) -> None:
    ada.approve(ada.authorize(scope=ALL).location, scope=("notes:read",))
    ada.approve(ada.authorize(scope="notes:write").location, scope=("notes:write",))

    page = ada.get(ada.authorize(scope=ALL, prompt="consent").location).text

    assert ticked(page) == ["notes:read", "notes:write"]
    assert page.count("Not allowed so far") == 1 and LOSS in page


def test_a_scope_that_was_left_unticked_is_issued_only_after_it_is_ticked(ada: Browser) -> None:
    ada.approve(ada.authorize(scope=ALL).location, scope=("notes:read",))
    assert "/consent/" in ada.authorize(scope="notes:write").location

    allowed = ada.approve(ada.authorize(scope="notes:write").location, scope=("notes:write",))

    assert ada.redeem(redirect_parameters(allowed)["code"]).json["scope"] == "notes:write"
    assert "code" in redirect_parameters(ada.authorize(scope="notes:read notes:write"))


def enter_code(user: Browser, television: Browser, scope: str) -> str:
    """Enter the code of a television, and return the path of its consent page."""
    code = television.post("/oauth/device", scope=scope).json["user_code"]
    return str(user.submit("/device", {"user_code": code}).location)


@pytest.fixture
def television(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("native", name="Television", grant_types=[DEVICE_CODE_GRANT_TYPE]))


def test_after_a_sign_in_the_page_of_a_device_has_the_code_and_the_ticks(
    ada_with_password: Browser, television: Browser
) -> None:
    browser = ada_with_password
    path = enter_code(browser, television, ALL)
    page = browser.get(path).text
    form = consent_form(page)
    browser.submit("/account/sign-out", {}, page_path="/account")

    sent_to_sign_in = browser.http.post(path, data={**dict(form.fields), "decision": "allow", "scope": "profile"})
    signed_in = sign_in_again(browser, next_path(sent_to_sign_in.location))
    confirmation = browser.get(signed_in.location).text
    [code_form] = [form for form in parse_forms(confirmation) if form.has_field("user_code")]
    confirmed = browser.http.post(code_form.action, data=dict(code_form.fields))

    assert "Does your device show this code?" in confirmation
    assert ticked(browser.get(confirmed.location).text) == ["profile"]


def test_the_pages_of_a_device_say_who_is_signed_in_and_let_the_user_change_it(
    ada: Browser, television: Browser
) -> None:
    path = enter_code(ada, television, "profile")

    for page in (ada.get("/device").text, ada.get(path).text):
        assert "Signed in as" in page and EMAIL in page
        assert "Use another account" in page
    assert "user_code%3D" in ada.get(path).text.partition('id="use-other-account" href="')[2].partition('"')[0]


def test_a_code_of_an_earlier_sign_in_is_said_once_with_a_link_to_the_code(
    ada_with_password: Browser, television: Browser
) -> None:
    browser = ada_with_password
    path = enter_code(browser, television, "profile")
    browser.submit("/account/sign-out", {}, page_path="/account")
    sign_in_again(browser, "/account")

    page = browser.get(path)

    assert page.status_code == 400 and "This code was entered in an earlier sign-in." in page.text
    assert "Enter it again" not in page.text and 'href="/device?user_code=' in page.text


def test_a_code_that_was_entered_in_another_browser_is_not_shown(
    app: Flask, ada: Browser, television: Browser, runtime: Runtime
) -> None:
    path = enter_code(ada, television, "profile")
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    page = eve.get(path)

    assert page.status_code == 400 and 'href="/device"' in page.text and "user_code" not in page.text
    assert next_path(Browser(app.test_client(), ada.client).get(path).location) == "/device"


def test_a_user_of_the_host_app_comes_back_to_the_same_ticks(make_app: MakeApp, sqlite_store_url: str) -> None:
    users = ["ada"]
    app = make_app(sqlite_store_url, resource_owner=lambda: users[-1], sign_in_url="/login")
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=["https://shop.example/back"]
    )
    browser = Browser(app.test_client(), shop)
    path = browser.authorize(scope=ALL).location
    form = consent_form(browser.get(path).text)
    users.append("")

    sent_to_sign_in = browser.http.post(path, data={**dict(form.fields), "decision": "allow", "scope": "profile"})
    users.append("ada")

    assert ticked(browser.get(next_path(sent_to_sign_in.location)).text) == ["profile"]
