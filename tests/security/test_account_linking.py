"""Attacks on the connection of providers with accounts: who prepares an account for another person gains nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, list_accounts
from valetkey.accounts.administration import change_account
from valetkey.accounts.security import disable_account
from valetkey.federation import sign_in
from valetkey.runtime import Runtime
from valetkey.storage import account_changes, accounts, provider_links
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_links import ProviderLink

VICTIM = "ada@example.org"


@pytest.fixture
def provider(clock: Clock) -> Iterator[FakeProvider]:
    with FakeProvider(clock) as provider:
        yield provider


@pytest.fixture
def app(make_app: MakeApp, store_url: str, provider: FakeProvider) -> Flask:
    return make_app(store_url, sign_in_with=[provider.provider()], mail_url="smtp://127.0.0.1:1")


@pytest.fixture
def runtime(app: Flask) -> Runtime:
    runtime: Runtime = app.extensions["valetkey"]
    return runtime


@pytest.fixture
def mallory(app: Flask, provider: FakeProvider) -> ProviderBrowser:
    """Signed in to an account under the victim's address, which the provider has not verified."""
    browser = browser_of(app, provider)
    browser.sign_in(sub="mallory", email=VICTIM, email_verified=False)
    assert browser.is_signed_in()
    return browser


@pytest.fixture
def mails(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the mails that were sent with a link."""
    sent: list[str] = []
    monkeypatch.setattr("valetkey.outbound.mail.send_mail", lambda settings, to, subject, text: sent.append(text))
    return sent


def press(browser: ProviderBrowser, path: str, page: str) -> int:
    """Submit a button's form on a page; return the status."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.http.get(page).text)
    return browser.http.post(path, data={"csrf_token": token[1] if token else ""}).status_code


def request_verification(browser: ProviderBrowser, runtime: Runtime, mails: list[str]) -> str:
    """Have the address of the browser's account verified; return the path of the mailed link."""
    assert press(browser, "/account/verify", "/account") == 200
    runtime.make_worker().run_once()
    match = re.search(r"http://127\.0\.0\.1:8000(/account/mail/\S+)", mails[-1])
    assert match
    return match[1]


def test_pre_hijacking_the_victim_cannot_confirm_the_address_of_an_account_that_another_person_prepared(
    app: Flask, provider: FakeProvider, runtime: Runtime, mallory: ProviderBrowser, mails: list[str]
) -> None:
    link = request_verification(mallory, runtime, mails)
    victim = browser_of(app, provider)

    opened = victim.http.get(link)

    assert (opened.status_code, opened.location.partition("?")[0]) == (303, "/account/sign-in")
    assert press(victim, link, "/account/sign-in") == 303
    assert list_accounts(app)[0].email_verified_at is None
    refused = victim.sign_in(sub="ada")
    assert "There is already an account with the address" in refused.text
    assert not victim.is_signed_in()


def test_an_address_is_not_confirmed_in_a_browser_that_is_signed_in_to_another_account(
    app: Flask, provider: FakeProvider, runtime: Runtime, mallory: ProviderBrowser, mails: list[str]
) -> None:
    link = request_verification(mallory, runtime, mails)
    other = browser_of(app, provider)
    other.sign_in(sub="eve", email="eve@example.org", email_verified=False)

    assert "You are signed in to another account" in other.http.get(link).text
    assert press(other, link, "/account") == 400
    assert all(account.email_verified_at is None for account in list_accounts(app))
    assert press(mallory, link, link) == 200


def test_the_owner_gets_a_mail_when_a_provider_is_connected_by_address(
    app: Flask, provider: FakeProvider, runtime: Runtime, clock: Clock
) -> None:
    insert = accounts.add("ada", VICTIM, "Ada", "hash", clock(), {})
    runtime.store.write(Transaction(insert, (accounts.set_email_verified("ada", VICTIM, clock()),)))
    sent: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "valetkey.outbound.mail.send_mail",
            lambda settings, to, subject, text: sent.append(f"{to}: {subject}"),
        )
        assert browser_of(app, provider).sign_in().status_code == 303
        runtime.make_worker().run_once()

    assert sent == [f"{VICTIM}: Example was connected"]


@pytest.mark.parametrize("change", ["other address", "not verified", "disabled", "removed"])
def test_an_account_that_changes_while_a_provider_is_connected_by_address_is_not_connected(
    runtime: Runtime, provider: FakeProvider, clock: Clock, change: str
) -> None:
    insert = accounts.add("ada", VICTIM, "Ada", "hash", clock(), {})
    runtime.store.write(Transaction(insert, (accounts.set_email_verified("ada", VICTIM, clock()),)))
    account = accounts.find_by_email(runtime.store, VICTIM)  # read by the sign-in
    assert account is not None
    link = ProviderLink("ada-1", provider.issuer, "ada", VICTIM, clock())
    connect = provider_links.add_to_verified(link, VICTIM)
    if change == "other address":
        change_account(account, replace(account, email="eve@example.org"), runtime.store, clock())
    if change == "not verified":
        change_account(account, replace(account, email_verified_at=None), runtime.store, clock())
    if change == "disabled":
        disable_account("ada", runtime, clock())
    if change == "removed":
        runtime.store.write(Transaction(rows=tuple(account_changes.remove("ada"))))

    assert runtime.store.write(Transaction(connect)) is False
    assert provider_links.list_of_account(runtime.store, "ada") == []


@pytest.mark.parametrize(("other_sub", "is_signed_in"), [("ada-1", True), ("ada-2", False)])
def test_two_first_sign_ins_at_once_create_one_account(
    app: Flask, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, other_sub: str, is_signed_in: bool
) -> None:
    browser, other = browser_of(app, provider), browser_of(app, provider)

    def charge_while_another_window_is_faster(*arguments: Any) -> None:
        monkeypatch.setattr(sign_in, "charge_attempt", lambda *_: None)
        assert other.sign_in(sub=other_sub).status_code == 303

    monkeypatch.setattr(sign_in, "charge_attempt", charge_while_another_window_is_faster)
    browser.sign_in()

    assert len(list_accounts(app)) == 1
    assert other.is_signed_in()
    assert browser.is_signed_in() == is_signed_in


@pytest.mark.parametrize(("other_sub", "is_signed_in"), [("ada-1", True), ("ada-2", False)])
def test_two_first_sign_ins_at_once_to_an_account_with_the_address_connect_one_user(
    runtime: Runtime,
    app: Flask,
    provider: FakeProvider,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    other_sub: str,
    is_signed_in: bool,
) -> None:
    insert = accounts.add("ada", VICTIM, "Ada", "hash", clock(), {})
    runtime.store.write(Transaction(insert, (accounts.set_email_verified("ada", VICTIM, clock()),)))
    browser, other = browser_of(app, provider), browser_of(app, provider)

    def make_mail_while_another_window_is_faster(*_: Any) -> tuple[()]:
        monkeypatch.setattr(sign_in, "provider_mail_statements", lambda *_: ())
        assert other.sign_in(sub=other_sub, email=VICTIM).status_code == 303
        return ()

    monkeypatch.setattr(sign_in, "provider_mail_statements", make_mail_while_another_window_is_faster)
    browser.sign_in(sub="ada-1", email=VICTIM)

    assert other.is_signed_in()
    assert browser.is_signed_in() == is_signed_in
    assert len(provider_links.list_of_account(runtime.store, "ada")) == 1


def test_two_users_of_a_provider_who_connect_one_account_at_once_are_not_both_connected(
    runtime: Runtime, provider: FakeProvider, clock: Clock
) -> None:
    insert = accounts.add("ada", VICTIM, "Ada", "hash", clock(), {})
    runtime.store.write(Transaction(insert, (accounts.set_email_verified("ada", VICTIM, clock()),)))
    links = [ProviderLink(subject, provider.issuer, "ada", VICTIM, clock()) for subject in ("ada-1", "ada-2")]

    assert [runtime.store.write(Transaction(provider_links.add_to_verified(link, VICTIM))) for link in links] == [
        True,
        False,
    ]
    assert [link.subject for link in provider_links.list_of_account(runtime.store, "ada")] == ["ada-1"]


def _create_account_at(app: Flask, now: float, *, is_verified: bool) -> str:
    runtime: Runtime = app.extensions["valetkey"]
    runtime.store.write(Transaction(accounts.add("mallory", "ada@example.org", "Mallory", "hash", now)))
    if is_verified:
        runtime.store.write(Transaction(rows=(accounts.set_email_verified("mallory", "ada@example.org", now),)))
    return "mallory"


@pytest.mark.parametrize(
    ("is_verified_here", "claims", "options", "is_connected"),
    [
        (True, {}, {}, True),
        (False, {}, {}, False),  # pre-hijacking: an account that waits under the victim's address
        (True, {"email_verified": False}, {}, False),  # the provider does not check addresses
        (True, {"email_verified": None}, {}, False),
        (True, {"email_verified": "yes"}, {}, False),
        (True, {}, {"verifies_email": False}, False),  # the provider is not trusted to check addresses
    ],
)
def test_an_account_is_connected_by_address_only_if_both_sides_have_verified_it(
    make_app: MakeApp,
    sqlite_store_url: str,
    provider: FakeProvider,
    clock: Clock,
    is_verified_here: bool,
    claims: dict[str, Any],
    options: dict[str, Any],
    is_connected: bool,
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider(**options)])
    _create_account_at(app, clock(), is_verified=is_verified_here)
    browser = browser_of(app, provider)

    response = browser.sign_in(**claims)

    assert response.status_code == (303 if is_connected else 400)
    assert browser.is_signed_in() == is_connected
    assert [account.sub for account in list_accounts(app)] == ["mallory"]
    if not is_connected:
        assert "There is already an account with the address ada@example.org" in response.text


def test_an_address_that_the_provider_gave_to_another_user_does_not_connect_the_account(
    app: Flask, provider: FakeProvider
) -> None:
    browser_of(app, provider).sign_in()

    other = browser_of(app, provider)
    response = other.sign_in(sub="another-employee")

    assert response.status_code == 400
    assert "create-own-account" not in response.text
    assert not other.is_signed_in()


def test_a_user_whose_address_is_another_one_in_each_of_two_windows_gets_one_account(
    app: Flask, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, other = browser_of(app, provider), browser_of(app, provider)

    def charge_while_another_window_is_faster(*arguments: Any) -> None:
        monkeypatch.setattr(sign_in, "charge_attempt", lambda *_: None)
        assert other.sign_in(email="countess@example.org").status_code == 303

    monkeypatch.setattr(sign_in, "charge_attempt", charge_while_another_window_is_faster)
    browser.sign_in()

    assert [account.email for account in list_accounts(app)] == ["countess@example.org"]
    assert other.is_signed_in()
    assert browser.is_signed_in()


def create_own_account(browser: ProviderBrowser, **claims: Any) -> TestResponse:
    """Sign in with the button for users whose address another account has; see that it is on the page."""
    refused = browser.sign_in(**claims)
    assert refused.status_code == 400
    assert 'id="create-own-account"' in refused.text
    begun = browser.begin(account="new")
    return browser.finish(browser.provider.answer(begun.location, **claims))


@pytest.mark.parametrize("mail_url", [None, "smtp://127.0.0.1:1"])
@pytest.mark.parametrize("password_sign_in", [True, False])
def test_an_unverified_address_does_not_lock_out_the_user_who_can_prove_it(
    make_app: MakeApp, store_url: str, provider: FakeProvider, mail_url: str | None, password_sign_in: bool
) -> None:
    app = make_app(store_url, sign_in_with=[provider.provider()], mail_url=mail_url, password_sign_in=password_sign_in)
    mallory, victim = browser_of(app, provider), browser_of(app, provider)
    mallory.sign_in(sub="mallory", email=VICTIM, email_verified=False)

    assert create_own_account(victim).status_code == 303

    assert victim.is_signed_in()
    by_email = {account.email: account for account in list_accounts(app)}  # both were created at the same time
    assert by_email.keys() == {None, VICTIM}
    first, second = by_email[None], by_email[VICTIM]
    assert second.email_verified_at is not None
    runtime: Runtime = app.extensions["valetkey"]
    with app.test_request_context():
        assert runtime.owners.claims(first.sub, frozenset({"email"})) == {}
    page = mallory.http.get("/account")
    assert page.status_code == 200
    assert VICTIM not in page.text.partition('id="providers"')[0]
    assert "send-verification" not in page.text
    again = browser_of(app, provider)
    again.sign_in(sub="mallory", email=VICTIM, email_verified=False)
    assert again.is_signed_in()
    assert len(list_accounts(app)) == 2


def test_the_address_of_an_account_with_a_password_can_be_taken_by_the_user_who_proves_it(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()])
    _create_account_at(app, clock(), is_verified=False)

    assert create_own_account(browser_of(app, provider)).status_code == 303

    assert [account.email for account in list_accounts(app)] == [None, VICTIM]


@pytest.mark.parametrize(
    ("is_verified_here", "claims", "options"),
    [
        (True, {"email_verified": False}, {}),
        (False, {"email_verified": False}, {}),
        (False, {}, {"verifies_email": False}),
        (False, {}, {"sign_up": False}),  # the user may not have an account
    ],
)
def test_an_address_is_not_taken_without_proof_or_from_an_account_that_has_verified_it(
    make_app: MakeApp,
    sqlite_store_url: str,
    provider: FakeProvider,
    clock: Clock,
    is_verified_here: bool,
    claims: dict[str, Any],
    options: dict[str, Any],
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider(**options)])
    _create_account_at(app, clock(), is_verified=is_verified_here)
    browser = browser_of(app, provider)

    begun = browser.begin(account="new")
    response = browser.finish(provider.answer(begun.location, **claims))

    assert response.status_code == 400
    assert "create-own-account" not in response.text
    assert not browser.is_signed_in()
    assert [account.email for account in list_accounts(app)] == [VICTIM]


def test_an_address_that_is_verified_meanwhile_is_not_taken(
    runtime: Runtime, clock: Clock, mallory: ProviderBrowser
) -> None:
    (account,) = list_accounts(mallory.http.application)
    take = accounts.remove_unverified_email(account.sub, VICTIM)
    runtime.store.write_all(accounts.set_email_verified(account.sub, VICTIM, clock()))

    assert runtime.store.write(Transaction(take)) is False
