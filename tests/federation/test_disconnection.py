"""After the user has disconnected a provider: only the user connects it again. The only way to sign in stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, connect, csrf_token, list_accounts, press
from tests.support.user import PASSWORD
from valetkey.accounts.mail_links import RESET_PASSWORD
from valetkey.accounts.sign_up import create_account
from valetkey.protocol.secret import MAIL_LINK, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links, provider_links
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink

EMAIL = "ada@example.org"
Run = Callable[..., Result]


@pytest.fixture
def app(make_app: MakeApp, store_url: str, provider: FakeProvider) -> Flask:
    return make_app(store_url, sign_in_with=[provider.provider()], mail_url="smtp://127.0.0.1:1")


@pytest.fixture
def sub(runtime: Runtime, clock: Clock) -> str:
    """The account of Ada, with a password and a verified address."""
    sub = create_account(runtime.store, clock(), name="Ada", email=EMAIL, password=PASSWORD)
    runtime.store.write_all(accounts.set_email_verified(sub, EMAIL, clock()))
    return sub


@pytest.fixture
def ada_in_browser(browser: ProviderBrowser, sub: str) -> ProviderBrowser:
    """The browser of Ada, whose provider was connected by the address and is disconnected again."""
    browser.sign_in()
    assert press(browser, "disconnect").status_code == 303
    return browser


@pytest.fixture
def run(app: Flask) -> Run:
    """Run a command of ``valetkey users`` for ``app``."""
    group = FlaskGroup(create_app=lambda: app)
    return lambda *arguments, **options: CliRunner().invoke(group, ["valetkey", "users", *arguments], **options)


def assert_not_connected(app: Flask, provider: FakeProvider, sub: str) -> None:
    """Check that a thief of the user's account at the provider does not get into the account by its address."""
    thief = browser_of(app, provider)
    assert "There is already an account with the address" in thief.sign_in().text
    assert not thief.is_signed_in()
    assert [account.sub for account in list_accounts(app)] == [sub]


def test_a_disconnected_provider_is_not_connected_again_by_a_verified_address(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider, sub: str
) -> None:
    page = ada_in_browser.http.get("/account").text

    assert "The provider is disconnected. It signs in to your account only if you connect it again." in page
    assert_not_connected(app, provider, sub)


def test_a_user_connects_a_disconnected_provider_again(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    assert connect(ada_in_browser).status_code == 303

    assert browser_of(app, provider).sign_in().status_code == 303


def test_a_provider_that_was_connected_again_and_then_ended_by_a_reset_connects_by_its_address(
    app: Flask, runtime: Runtime, ada_in_browser: ProviderBrowser, provider: FakeProvider, clock: Clock, sub: str
) -> None:
    connect(ada_in_browser)

    reset_password(app, runtime, sub, clock())

    assert provider_links.list_of_account(runtime.store, sub) == []
    assert browser_of(app, provider).sign_in().status_code == 303


def test_a_password_reset_does_not_forget_that_a_provider_was_disconnected(
    app: Flask, runtime: Runtime, ada_in_browser: ProviderBrowser, provider: FakeProvider, clock: Clock, sub: str
) -> None:
    reset_password(app, runtime, sub, clock())

    assert_not_connected(app, provider, sub)


def reset_password(app: Flask, runtime: Runtime, sub: str, now: float) -> None:
    secret = generate_secret(MAIL_LINK)
    runtime.store.write_all(mail_links.add(MailLink(secret.digest(), RESET_PASSWORD, EMAIL, sub, "", "", now + 60)))
    browser, path = app.test_client(), f"/account/mail/{secret.reveal()}"
    data = {"csrf_token": csrf_token(browser.get(path)), "password": "a violet tram in june"}
    response = browser.post(path, data=data)
    assert response.status_code == 303


def test_another_user_of_the_provider_connects_by_the_address(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    assert browser_of(app, provider).sign_in(sub="ada-2").status_code == 303


def test_a_provider_that_the_operator_disconnected_is_not_connected_again_by_a_verified_address(
    app: Flask, run: Run, browser: ProviderBrowser, provider: FakeProvider, sub: str
) -> None:
    browser.sign_in()

    assert run("disconnect", EMAIL, "example", "--yes").exit_code == 0

    assert_not_connected(app, provider, sub)


def test_a_removed_account_leaves_no_disconnection(
    app: Flask, run: Run, ada_in_browser: ProviderBrowser, provider: FakeProvider, sub: str
) -> None:
    assert run("remove", EMAIL, "--yes").exit_code == 0

    assert browser_of(app, provider).sign_in().status_code == 303
    assert [account.sub for account in list_accounts(app)] != [sub]


def test_a_password_of_an_account_without_an_address_is_no_way_to_sign_in(
    app: Flask, runtime: Runtime, run: Run, browser: ProviderBrowser, clock: Clock
) -> None:
    sub = create_account(runtime.store, clock(), name="Ada", email=EMAIL, password=PASSWORD)
    browser.sign_in_with_password(EMAIL)
    assert connect(browser, sub="ada-9", email="ada@work.example").status_code == 303
    runtime.store.write(Transaction(accounts.remove_unverified_email(sub, EMAIL)))

    refused = press(browser, "disconnect")

    assert refused.status_code == 400
    assert "Example is the only way to sign in to your account. Connect another provider first." in refused.text
    page = browser.http.get("/account").text
    assert "disconnect-example" not in page
    assert "to-password" not in page
    assert len(provider_links.list_of_account(runtime.store, sub)) == 1
    assert "It is the only way to sign in to the account." in run("disconnect", sub, "example", input="n\n").output
    result = run("password", sub)
    assert (result.exit_code, f"valetkey users update {sub} --email" in result.output) == (1, True)


def test_a_link_to_a_provider_that_is_not_configured_any_more_is_no_way_to_sign_in(
    run: Run, runtime: Runtime, browser: ProviderBrowser, clock: Clock
) -> None:
    browser.sign_in(email_verified=False)
    (account,) = accounts.list_all(runtime.store)
    gone = provider_links.ProviderLink("1", "https://gone.example", account.sub, None, clock())
    runtime.store.write(Transaction(provider_links.add(gone)))

    result = run("disconnect", EMAIL, "example", input="n\n")

    assert "It is the only way to sign in to the account." in result.output


def test_a_user_whose_only_way_to_sign_in_is_a_provider_is_led_to_the_page_for_a_password(
    browser: ProviderBrowser,
) -> None:
    browser.sign_in(email=EMAIL, email_verified=True)

    refused = press(browser, "disconnect")

    assert 'href="/account/password">Set a password<' in refused.text
    assert "Your account has no password yet." in browser.http.get("/account/password").text


def test_without_mail_the_page_for_a_password_says_whom_to_ask(
    make_app: MakeApp, store_url: str, provider: FakeProvider
) -> None:
    browser = browser_of(make_app(store_url, sign_in_with=[provider.provider()]), provider)
    browser.sign_in()

    page = browser.http.get("/account/password").text

    assert "Ask the operator of this site if you need a password." in page
    assert "Current password" not in page


def test_a_connection_that_is_refused_is_not_called_a_sign_in(browser: ProviderBrowser, sub: str) -> None:
    browser.sign_in_with_password(EMAIL)
    begun = press(browser, "connect")
    state = browser.provider.answer(begun.location)["state"]

    refused = browser.finish({"error": "access_denied", "state": state})

    assert "Example was not connected" in refused.text and "did not sign you in" not in refused.text
