"""Every page knows who is signed in, and error pages lead on; an unavailable store does not change an error page."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.runtime import Runtime

HTML = {"Accept": "text/html"}
PAGES = [
    ("GET", "/oauth/nothing"),
    ("GET", "/account/revoke"),
    ("DELETE", "/account"),
    ("GET", "/oauth/logout?post_logout_redirect_uri=https://other.example/"),
    ("GET", "/account/mail/vk_ml_made_up"),
    ("GET", "/oauth/consent/unknown"),
]


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_signed_in_user_has_the_account_and_the_sign_out_on_error_pages(ada: Browser, method: str, path: str) -> None:
    page = ada.http.open(path, method=method, headers=HTML)

    assert page.status_code >= 400
    assert 'aria-label="Your account"' in page.text and 'id="sign-out"' in page.text


def test_the_page_after_staying_signed_in_leads_to_the_account(ada: Browser) -> None:
    page = ada.submit("/oauth/logout/confirm", {"decision": "stay"}, page_path="/oauth/logout").text

    assert 'id="sign-out"' in page
    assert '<a class="button primary" href="/account">Back to your account</a>' in page


@pytest.mark.parametrize(("method", "path"), PAGES[:4])
def test_an_error_page_has_a_next_step(app: Flask, method: str, path: str) -> None:
    page = app.test_client().open(path, method=method, headers=HTML).text

    assert re.search(r'id="next-step" href="/account"', page)
    assert 'aria-label="Your account"' not in page


def test_an_error_page_without_an_account_page_leads_to_the_start(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, account_path=None, resource_owner=lambda: "ada", sign_in_url="/login")

    assert 'id="next-step" href="/"' in app.test_client().get("/oauth/nothing", headers=HTML).text


def test_an_error_page_needs_no_store(ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BackendUnavailable("down")

    monkeypatch.setattr("valetkey.web.resource_owners.sessions.find_active", fail)

    page = ada.http.get("/oauth/nothing", headers=HTML)

    assert page.status_code == 404 and "Page not found" in page.text
    assert 'id="next-step"' in page.text and 'id="sign-out"' not in page.text


def test_an_error_page_of_a_visitor_without_a_session_reads_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []
    monkeypatch.setattr("valetkey.web.resource_owners.sessions.find_active", lambda *values: reads.append(values))

    assert app.test_client().get("/oauth/nothing", headers=HTML).status_code == 404
    assert reads == []


def test_after_too_many_codes_the_page_says_how_long_to_wait(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    app = make_app(sqlite_store_url, device_code_limit="1/hour burst 1")
    browser = Browser(app.test_client(), None)  # type: ignore[arg-type]  # no client is needed
    browser.sign_up()

    refused = [browser.submit("/device", {"user_code": "BCDF-GHJK"}) for _ in "ab"][1]

    assert refused.status_code == 429
    assert "Too many codes were entered." in refused.text and "Please wait 60 minutes and try again." in refused.text


def test_a_sign_out_button_of_a_stale_page_says_what_to_do(ada: Browser, app: Flask, shop: CreatedClient) -> None:
    page = ada.http.post("/account/sign-out", data={"csrf_token": "stale"}).text

    assert "reload the page, and try again." in page and "decide again" not in page


@pytest.mark.parametrize("allows_app", [False, True])
def test_the_notice_after_a_sign_out_mentions_apps_only_if_there_are_some(
    ada: Browser, register: Register, allows_app: bool
) -> None:
    if allows_app:
        ada.approve(ada.authorize().location)

    signed_out = ada.submit("/account/sign-out", {}, page_path="/account")

    assert ("Apps that you allowed keep their access" in ada.get(signed_out.location).text) == allows_app


def test_the_sign_out_page_has_its_buttons_above_the_apps(ada: Browser) -> None:
    ada.obtain_tokens()

    page = ada.get("/oauth/logout").text

    assert page.index('id="log-out"') < page.index("keep their access")
