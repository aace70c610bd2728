"""The pages around mailed links: what they say about the mail, and where they lead next."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.user import PASSWORD
from valetkey.accounts.mail_links import RESET_PASSWORD, SIGN_UP, VERIFY_EMAIL
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.secret import MAIL_LINK, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links
from valetkey.storage.mail_links import MailLink


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, mail_url="smtp://127.0.0.1:1")


@pytest.fixture
def browser(app: Flask, shop: CreatedClient) -> Browser:
    """A browser in which nobody is signed in."""
    return Browser(app.test_client(), shop)


def add_link(runtime: Runtime, purpose: str, sub: str | None = "ada", next_path: str = "") -> str:
    """Store a link that is valid for a minute, and return its path."""
    secret = generate_secret(MAIL_LINK)
    link = MailLink(secret.digest(), purpose, EMAIL, sub, "Ada", next_path, runtime.clock() + 60)
    runtime.store.write_all(mail_links.add(link))
    return f"/account/mail/{secret.reveal()}"


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.mark.parametrize("start", ["in another browser", "too long ago"])
def test_a_sign_up_that_cannot_continue_the_request_of_the_app_says_that_the_account_was_created(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, clock: Clock, start: str
) -> None:
    requester = Browser(app.test_client(), shop) if start == "in another browser" else browser
    consent_path = requester.authorize().location
    if start == "too long ago":
        clock.forward(3000)
    path = add_link(runtime, SIGN_UP, None, consent_path)

    page = browser.get(browser.submit(path, {"password": PASSWORD}).location)

    assert page.status_code == 400
    assert "Your account was created." in page.text
    assert "In this browser, you are signed in." in page.text


def test_a_request_of_another_browser_does_not_claim_that_the_user_is_signed_in(
    browser: Browser, app: Flask, shop: CreatedClient
) -> None:
    page = browser.get(Browser(app.test_client(), shop).authorize().location)

    assert "This request was started in another browser." in page.text
    assert "You are signed in now" not in page.text


def test_a_user_learns_that_too_many_mails_were_requested_for_the_own_address(ada: Browser) -> None:
    pages = [ada.submit("/account/verify", {}, page_path="/account") for _ in range(6)]

    assert [page.status_code for page in pages] == [200] * 5 + [429]
    assert f"A mail with a link is on its way to {EMAIL}." in pages[0].text
    assert "Too many mails" in pages[-1].text
    assert int(pages[-1].headers["Retry-After"]) > 0


def test_a_stranger_does_not_learn_that_too_many_mails_were_requested(browser: Browser, ada: Browser) -> None:
    pages = [browser.submit("/account/forgotten", {"email": EMAIL}) for _ in range(7)]

    assert {page.status_code for page in pages} == {200}
    assert len({page.text for page in pages}) == 1
    unknown = browser.submit("/account/forgotten", {"email": "eve@example.org"}).text
    assert unknown.replace("eve@example.org", EMAIL) == pages[0].text


@pytest.mark.parametrize(
    ("path", "fields", "sentence"),
    [
        ("/account/forgotten", {}, f"If there is an account for {EMAIL}, a mail with a link is on its way."),
        ("/account/sign-up", {"name": "Ada"}, f"If {EMAIL} can be used for an account here, a mail with a link is"),
    ],
)
def test_the_page_about_a_mail_says_what_to_do_and_links_back(
    browser: Browser, path: str, fields: dict[str, str], sentence: str
) -> None:
    page = browser.submit(path, {"email": EMAIL, "next": "/api/orders", **fields}).text

    assert sentence in page
    assert "The link is valid for 60 minutes. Nothing after some minutes? Check the spam folder" in page
    assert 'href="/account/sign-in?next=/api/orders"' in page


def test_a_reset_password_continues_with_the_request_of_the_app(
    browser: Browser, ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails: list[str] = []
    monkeypatch.setattr("valetkey.outbound.mail.send_mail", lambda *mail: mails.append(mail[3]))
    consent_path = browser.authorize().location
    sign_in = browser.get(browser.get(consent_path).location).text
    forgotten = f"/account/forgotten?next={consent_path}"
    assert f'href="{forgotten}"' in sign_in
    assert f'href="/account/sign-in?next={consent_path}"' in browser.get(forgotten).text
    browser.submit(forgotten, {"email": EMAIL, "next": consent_path})
    runtime.make_worker().run_once()
    found = re.search(r"/account/mail/\S+", mails[0])
    assert found

    reset = browser.submit(found[0], {"password": PASSWORD})

    assert reset.location == f"/account/access?next={consent_path}"


def test_a_forgotten_password_continues_only_on_this_site(browser: Browser) -> None:
    for page in (
        browser.get("/account/forgotten?next=https://evil.example/"),
        browser.submit("/account/forgotten", {"email": EMAIL, "next": "//evil.example/"}),
    ):
        assert re.findall(r'href="[^"]*(?:evil|next=)[^"]*"', page.text) in (
            [],
            ['href="/account/sign-in?next=/account"'],
        )


@pytest.mark.parametrize(
    ("purpose", "sentence", "link"),
    [
        (RESET_PASSWORD, "Request a new link to set your password.", "/account/forgotten?next=/api/orders"),
        (SIGN_UP, "If you have created your account with it, sign in.", "/account/sign-in?next=/api/orders"),
        (VERIFY_EMAIL, "Sign in, and request a new link on your account page.", "/account/sign-in?next=/api/orders"),
    ],
)
def test_an_expired_link_says_how_to_get_another_one(
    browser: Browser, ada: Browser, runtime: Runtime, clock: Clock, purpose: str, sentence: str, link: str
) -> None:
    path = add_link(runtime, purpose, None if purpose == SIGN_UP else "ada", "/api/orders")
    clock.forward(61)

    page = browser.get(path)

    assert page.status_code == 400
    assert sentence in page.text and f'href="{link}"' in page.text


def test_a_used_confirmation_link_says_that_the_address_is_confirmed(ada: Browser, runtime: Runtime) -> None:
    path = add_link(runtime, VERIFY_EMAIL)
    assert ada.submit(path, {}).status_code == 200

    again = ada.get(path)

    assert (again.status_code, f"{EMAIL} is confirmed as your address." in again.text) == (200, True)


def test_an_expired_confirmation_link_of_an_unconfirmed_address_leads_to_the_account_page(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    path = add_link(runtime, VERIFY_EMAIL)
    clock.forward(61)

    page = ada.get(path)

    assert page.status_code == 400
    assert "Request a new link on your account page." in page.text


def test_a_confirmation_link_in_another_account_offers_to_change_the_account(
    browser: Browser, ada: Browser, runtime: Runtime
) -> None:
    sign_in_new_account(browser, runtime, "eve@example.org", "Eve")
    path = add_link(runtime, VERIFY_EMAIL)

    page = browser.get(path)

    assert page.status_code == 400
    assert re.search(rf'href="/account/sign-in\?next={path}">Use another account<', page.text)


def test_an_account_without_a_password_gets_a_link_to_set_one(ada: Browser, browser: Browser) -> None:
    assert ">Set a password</a>" in ada.get("/account").text
    page = ada.get("/account/password").text
    assert "Your account has no password yet." in text_of(page) and "Current password" not in page

    sent = ada.submit("/account/password", {})

    assert f"A mail with a link is on its way to {EMAIL}." in sent.text


def test_password_managers_find_the_account_of_a_new_password(ada: Browser, browser: Browser, runtime: Runtime) -> None:
    link_page = browser.get(add_link(runtime, SIGN_UP, None)).text
    runtime.store.write_all(accounts.set_password("ada", "hash"))

    for page in (link_page, ada.get("/account/password").text):
        assert f'<input type="text" autocomplete="username" value="{EMAIL}" readonly hidden>' in page
    assert 'autocomplete="username"' in browser.get("/account/sign-in").text
    assert '<label for="password">Password</label>' in link_page


def test_an_address_that_is_too_long_is_refused_in_plain_words(browser: Browser) -> None:
    page = browser.submit("/account/forgotten", {"email": f"{'a' * 250}@example.org"}).text

    assert '<p class="error" id="email-error">Enter at most 254 characters.</p>' in page
