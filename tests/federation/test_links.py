"""Connecting an account with a provider, and disconnecting it, on the account page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, connect, csrf_token, list_accounts, press
from tests.support.user import PASSWORD
from valetkey.accounts.administration import remove_account
from valetkey.accounts.login_context import LoginContext
from valetkey.accounts.mail_links import RESET_PASSWORD
from valetkey.accounts.password import hash_password
from valetkey.accounts.security import disable_account, sign_out_everywhere
from valetkey.accounts.sign_up import create_account
from valetkey.federation import links
from valetkey.federation.links import disconnect_provider
from valetkey.protocol.secret import BROWSER, MAIL_LINK, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links, provider_links, sessions
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink
from valetkey.storage.provider_links import ProviderLink


@pytest.fixture
def second(clock: Clock) -> Iterator[FakeProvider]:
    """A second provider, named Other."""
    with FakeProvider(clock) as provider:
        yield provider


@pytest.fixture
def app(make_app: MakeApp, store_url: str, provider: FakeProvider, second: FakeProvider) -> Flask:
    return make_app(store_url, sign_in_with=[provider.provider(), second.provider("Other")])


@pytest.fixture
def sub(app: Flask, clock: Clock) -> str:
    """The account of Ada, with a password, whose address is not verified."""
    runtime: Runtime = app.extensions["valetkey"]
    return create_account(runtime.store, clock(), name="Ada", email="ada@example.org", password=PASSWORD)


@pytest.fixture
def ada_in_browser(browser: ProviderBrowser, sub: str) -> ProviderBrowser:
    """The browser of Ada, who has signed in with her password."""
    browser.sign_in_with_password("ada@example.org")
    return browser


def test_a_connected_provider_signs_in_to_the_account_and_is_on_the_account_page(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider, sub: str
) -> None:
    response = connect(ada_in_browser, email="ada@work.example", email_verified=False)

    assert response.location == "/account"
    page = ada_in_browser.http.get("/account").text
    assert "The provider is connected." in page
    assert "ada@work.example" in page
    other = browser_of(app, provider)
    other.sign_in()
    assert [account.sub for account in list_accounts(app)] == [sub]
    assert other.is_signed_in()


def test_after_disconnecting_the_provider_does_not_sign_in_and_its_other_sessions_end(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    connect(ada_in_browser)
    other = browser_of(app, provider)
    other.sign_in()

    assert press(ada_in_browser, "disconnect").status_code == 303

    assert "The provider is disconnected." in ada_in_browser.http.get("/account").text
    assert not other.is_signed_in()
    assert ada_in_browser.is_signed_in()
    assert "There is already an account with the address" in other.sign_in().text


def test_disconnecting_ends_sessions_that_begin_while_it_runs(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(ada_in_browser)
    other = browser_of(app, provider)
    other.sign_in()
    monkeypatch.setattr("valetkey.storage.sessions.list_active", lambda *_: [])  # as they were read just before

    press(ada_in_browser, "disconnect")

    assert not other.is_signed_in()


def test_the_only_way_to_sign_in_cannot_be_disconnected(browser: ProviderBrowser, app: Flask) -> None:
    browser.sign_in()

    response = press(browser, "disconnect")

    assert response.status_code == 400
    assert "Example is the only way to sign in" in response.text
    assert "disconnect-example" not in browser.http.get("/account").text
    runtime: Runtime = app.extensions["valetkey"]
    assert len(provider_links.list_of_account(runtime.store, list_accounts(app)[0].sub)) == 1


def test_of_two_providers_one_can_be_disconnected_also_if_both_are_at_the_same_time(
    app: Flask, browser: ProviderBrowser, second: FakeProvider, clock: Clock
) -> None:
    browser.sign_in()
    connect(ProviderBrowser(browser.http, second, "other"))
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = list_accounts(app)
    context = LoginContext(generate_secret(BROWSER), None)

    def disconnect(provider: object) -> bool:
        return disconnect_provider(provider, account.sub, b"", context, runtime, clock())  # type: ignore[arg-type]

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(disconnect, runtime.settings.sign_in_with))

    assert sorted(outcomes) == [False, True]
    assert len(provider_links.list_of_account(runtime.store, account.sub)) == 1


def test_a_provider_account_that_is_connected_with_another_account_is_refused(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    browser_of(app, provider).sign_in(sub="eve", email="eve@example.org")

    response = connect(ada_in_browser, sub="eve")

    assert response.status_code == 400
    assert "is connected with another account here" in response.text
    assert "Back to your account" in response.text


def test_an_account_is_connected_with_one_user_of_a_provider(ada_in_browser: ProviderBrowser) -> None:
    connect(ada_in_browser)

    response = connect(ada_in_browser, sub="another")

    assert response.status_code == 400
    assert "Disconnect that one first" in response.text


def test_the_account_that_began_to_connect_must_be_signed_in_at_the_end(
    app: Flask, ada_in_browser: ProviderBrowser, clock: Clock
) -> None:
    answer = ada_in_browser.provider.answer(press(ada_in_browser, "connect").location)
    runtime: Runtime = app.extensions["valetkey"]
    runtime.store.write(Transaction(accounts.add("eve", "eve@example.org", "Eve", hash_password(PASSWORD), clock())))
    ada_in_browser.sign_in_with_password("eve@example.org")

    response = ada_in_browser.finish(answer)

    assert response.status_code == 400
    assert provider_links.list_of_account(runtime.store, "eve") == []
    ada_in_browser.http.delete_cookie("valetkey_session")
    assert ada_in_browser.finish(answer).status_code == 400


def test_connecting_needs_the_form_token_and_a_signed_in_user(browser: ProviderBrowser, app: Flask) -> None:
    browser.sign_in()
    assert browser.http.post("/account/sign-in/other/connect", data={"csrf_token": "x"}).status_code == 400
    assert browser.http.post("/account/sign-in/other/disconnect", data={"csrf_token": "x"}).status_code == 400

    stranger = app.test_client()
    token = csrf_token(stranger.get("/account/sign-in"))
    for action in ("connect", "disconnect"):
        response = stranger.post(f"/account/sign-in/other/{action}", data={"csrf_token": token})
        assert response.location.startswith("/account/sign-in?")


def test_a_password_reset_disconnects_the_provider_of_an_earlier_owner(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    """Pre-hijacking: an account that was created with a provider which does not verify addresses."""
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()], mail_url="smtp://127.0.0.1:1")
    mallory = browser_of(app, provider)
    mallory.sign_in(sub="mallory", email_verified=False)
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = list_accounts(app)
    secret = generate_secret(MAIL_LINK)
    link = MailLink(secret.digest(), RESET_PASSWORD, account.email, account.sub, "", "", clock() + 60)
    runtime.store.write(Transaction(rows=(mail_links.add(link),)))

    owner = browser_of(app, provider)
    token = csrf_token(owner.http.get(f"/account/mail/{secret.reveal()}"))
    data = {"csrf_token": token, "password": "a violet tram in june"}
    assert owner.http.post(f"/account/mail/{secret.reveal()}", data=data).status_code == 303

    assert provider_links.list_of_account(runtime.store, account.sub) == []
    assert not mallory.is_signed_in()
    assert mallory.sign_in(sub="mallory", email_verified=False).status_code == 400
    third = browser_of(app, provider)  # the owner's own account at the provider, now that both sides are verified
    assert third.sign_in(sub="ada-1").status_code == 303


def test_a_removal_waits_for_another_one_of_the_same_account(
    make_app: MakeApp, postgresql_store_url: str, provider: FakeProvider, second: FakeProvider, clock: Clock
) -> None:
    """Two processes: without the lock of the account, each would see the link that the other one removes."""
    app = make_app(postgresql_store_url, sign_in_with=[provider.provider(), second.provider("Other")])
    browser = browser_of(app, provider)
    browser.sign_in()
    connect(ProviderBrowser(browser.http, second, "other"))
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = list_accounts(app)
    context = LoginContext(generate_secret(BROWSER), None)
    first, other = runtime.settings.sign_in_with

    with psycopg.connect(postgresql_store_url) as process, ThreadPoolExecutor(1) as pool:
        process.execute("SELECT sub FROM valetkey_accounts WHERE sub = %s FOR UPDATE", [account.sub])
        process.execute("DELETE FROM valetkey_provider_links WHERE issuer = %s", [first.issuer])
        outcome = pool.submit(disconnect_provider, other, account.sub, b"", context, runtime, clock())
        with pytest.raises(TimeoutError):
            outcome.result(1)
        process.commit()
        assert outcome.result(10) is False

    assert [link.issuer for link in provider_links.list_of_account(runtime.store, account.sub)] == [other.issuer]


def test_a_sign_in_with_a_provider_waits_for_a_password_reset_without_locking_the_link(
    make_app: MakeApp, postgresql_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    """Otherwise the two could wait for each other: the reset locks the account, and then removes the link."""
    app = make_app(postgresql_store_url, sign_in_with=[provider.provider()])
    browser_of(app, provider).sign_in()
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = list_accounts(app)
    (link,) = provider_links.list_of_account(runtime.store, account.sub)
    condition = provider_links.set_signed_in(link.issuer, link.subject, account.sub, clock())

    with psycopg.connect(postgresql_store_url) as process, ThreadPoolExecutor(1) as pool:
        process.execute("UPDATE valetkey_accounts SET password_hash = 'new' WHERE sub = %s", [account.sub])
        outcome = pool.submit(runtime.store.write, Transaction(condition, (accounts.set_signed_in(account, clock()),)))
        with pytest.raises(TimeoutError):
            outcome.result(1)
        process.execute("SELECT FROM valetkey_provider_links WHERE sub = %s FOR UPDATE NOWAIT", [account.sub])
        process.execute("DELETE FROM valetkey_provider_links WHERE sub = %s", [account.sub])
        process.commit()
        assert outcome.result(10) is False


def _sign_out_everywhere(sub: str, runtime: Runtime) -> None:
    sign_out_everywhere(sub, None, runtime, runtime.clock())


def _disable(sub: str, runtime: Runtime) -> None:
    disable_account(sub, runtime, runtime.clock())


def _remove(sub: str, runtime: Runtime) -> None:
    (account,) = accounts.list_all(runtime.store)
    remove_account(account, runtime, runtime.clock())


@pytest.mark.parametrize("end", [_sign_out_everywhere, _disable, _remove])
def test_a_thief_whose_session_ends_while_a_provider_is_connected_does_not_connect_it(
    app: Flask,
    ada_in_browser: ProviderBrowser,
    sub: str,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[str, Runtime], None],
) -> None:
    runtime: Runtime = app.extensions["valetkey"]

    def make_mail_while_the_owner_is_faster(*_: object) -> tuple[()]:
        end(sub, runtime)
        return ()

    monkeypatch.setattr(links, "provider_mail_statements", make_mail_while_the_owner_is_faster)

    response = connect(ada_in_browser, sub="mallory")

    assert response.status_code == 400
    assert "You are not signed in to your account any more" in response.text
    assert provider_links.list_of_account(runtime.store, sub) == []


def test_a_connection_waits_for_a_new_password_that_is_being_set(
    make_app: MakeApp, postgresql_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    """Two processes: the reset has ended the sessions and removed the links, and has not committed yet."""
    app = make_app(postgresql_store_url, sign_in_with=[provider.provider()])
    browser = browser_of(app, provider)
    browser.sign_in()
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = list_accounts(app)
    (session,) = sessions.list_active(runtime.store, account.sub, clock())
    link = ProviderLink("mallory", "https://other.example", account.sub, None, clock())
    condition = provider_links.add_in_session(link, bytes(session.digest), clock())

    with psycopg.connect(postgresql_store_url) as process, ThreadPoolExecutor(1) as pool:
        process.execute("UPDATE valetkey_accounts SET password_hash = 'new' WHERE sub = %s", [account.sub])
        process.execute("DELETE FROM valetkey_provider_links WHERE sub = %s", [account.sub])
        outcome = pool.submit(runtime.store.write, Transaction(condition))
        with pytest.raises(TimeoutError):
            outcome.result(1)
        process.execute("UPDATE valetkey_sessions SET ended_at = 1 WHERE sub = %s", [account.sub])
        process.commit()
        assert outcome.result(10) is False

    assert provider_links.list_of_account(runtime.store, account.sub) == []


def test_a_provider_that_a_thief_connected_is_on_the_page_after_a_new_password_and_can_be_disconnected(
    app: Flask, ada_in_browser: ProviderBrowser, provider: FakeProvider
) -> None:
    connect(ada_in_browser, sub="mallory", email="mallory@evil.example")
    thief = browser_of(app, provider)
    thief.sign_in(sub="mallory")
    token = csrf_token(ada_in_browser.http.get("/account/password"))
    data = {"csrf_token": token, "current": PASSWORD, "password": "a violet tram in june"}
    access = ada_in_browser.http.post("/account/password", data=data).location
    assert not thief.is_signed_in()

    page = ada_in_browser.http.get(f"{access}?next=/device").text

    assert "mallory@evil.example" in page
    assert "No app and no token can use your account" not in page
    assert "connect-other" not in page
    fields = re.findall(r'<form method="post" action="([^"]*/disconnect)">(.*?)</form>', page, re.S)
    ((action, form),) = fields
    values = dict(re.findall(r'name="([^"]+)"[^>]* value="([^"]*)"', form))
    response = ada_in_browser.http.post(action, data=values)
    assert response.location == f"{access}?next=/device"
    assert "No app and no token can use your account" in ada_in_browser.http.get(response.location).text
    assert thief.sign_in(sub="mallory").status_code == 400


def test_the_page_after_a_new_password_does_not_offer_to_disconnect_the_only_way_to_sign_in(
    browser: ProviderBrowser,
) -> None:
    browser.sign_in()

    page = browser.http.get("/account/access").text

    assert "Your only way to sign in" in page
    assert "disconnect-example" not in page
