"""A new account, and one that takes the address of another: all of it is written, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, csrf_token, list_accounts
from tests.support.user import PASSWORD
from valetkey.accounts.mail_links import RESET_PASSWORD, SIGN_UP
from valetkey.accounts.sign_up import create_account
from valetkey.federation import sign_in
from valetkey.protocol.secret import MAIL_LINK, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit, mail_links, provider_links
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink
from valetkey.storage.provider_links import ProviderLink

EMAIL = "ada@example.org"


@pytest.fixture
def other(runtime: Runtime, clock: Clock) -> str:
    """The ``sub`` of an account of another person under Ada's address, which is not verified."""
    return create_account(runtime.store, clock(), name="Mallory", email=EMAIL, password=PASSWORD)


def list_events(runtime: Runtime) -> list[tuple[str, str | None]]:
    return [(entry.row.event, entry.row.owner) for entry in audit.list_latest(runtime.store, 20)]


def mail_link(runtime: Runtime, purpose: str, sub: str | None) -> Secret:
    """Store a link that was mailed to Ada, and return its secret."""
    secret, now = generate_secret(MAIL_LINK), runtime.clock()
    link = MailLink(secret.digest(), purpose, EMAIL, sub, "Ada", "", now + 60)
    runtime.store.write(Transaction(rows=(mail_links.add(link),)))
    return secret


def is_unused(secret: Secret, runtime: Runtime) -> bool:
    link = mail_links.find(runtime.store, secret.digest())
    return link is not None and link.used_at is None


def take_address(browser: ProviderBrowser) -> int:
    begun = browser.begin(account="new")
    return browser.finish(browser.provider.answer(begun.location)).status_code


def test_an_account_keeps_its_address_if_too_many_accounts_were_created(
    make_app: MakeApp, store_url: str, provider: FakeProvider
) -> None:
    app = make_app(store_url, sign_in_with=[provider.provider()], sign_up_limit="1/hour")
    browser_of(app, provider).sign_in(sub="mallory", email_verified=False)
    mallory = list_accounts(app)
    events = list_events(app.extensions["valetkey"])
    browser = browser_of(app, provider)

    begun = browser.begin(account="new")
    response = browser.finish(provider.answer(begun.location))

    assert (response.status_code, "Too many attempts" in response.text) == (400, True)
    assert list_accounts(app) == mallory
    assert list_events(app.extensions["valetkey"]) == events


def test_a_disabled_account_keeps_its_address(
    runtime: Runtime, browser: ProviderBrowser, other: str, clock: Clock
) -> None:
    """A new account with the same address would undo what the operator has done."""
    runtime.store.write_all(accounts.set_disabled(other, clock()))

    begun = browser.begin(account="new")
    response = browser.finish(browser.provider.answer(begun.location))

    assert response.status_code == 400
    assert "Create my own account" not in response.text
    assert [account.sub for account in accounts.list_all(runtime.store)] == [other]


def test_an_account_that_is_disabled_meanwhile_keeps_its_address(
    runtime: Runtime, browser: ProviderBrowser, other: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def charge_while_the_operator_is_faster(*_: Any) -> None:
        runtime.store.write_all(accounts.set_disabled(other, clock()))

    monkeypatch.setattr(sign_in, "charge_attempt", charge_while_the_operator_is_faster)

    assert take_address(browser) == 400
    assert [account.email for account in accounts.list_all(runtime.store)] == [EMAIL]


def test_an_address_that_is_verified_meanwhile_is_not_taken_and_no_account_is_created(
    app: Flask, runtime: Runtime, browser: ProviderBrowser, other: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def charge_while_the_owner_is_faster(*_: Any) -> None:
        runtime.store.write_all(accounts.set_email_verified(other, EMAIL, clock()))

    monkeypatch.setattr(sign_in, "charge_attempt", charge_while_the_owner_is_faster)
    reset = mail_link(runtime, RESET_PASSWORD, other)

    assert take_address(browser) == 400

    assert [(account.sub, account.email) for account in list_accounts(app)] == [(other, EMAIL)]
    assert provider_links.find(runtime.store, browser.provider.issuer, "ada-1") is None
    assert list_events(runtime) == [("account.created", other)]
    assert is_unused(reset, runtime)


def test_an_address_is_not_taken_if_the_user_has_got_an_account_meanwhile(
    app: Flask, runtime: Runtime, browser: ProviderBrowser, other: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def charge_while_another_window_is_faster(*_: Any) -> None:
        link = ProviderLink("ada-1", browser.provider.issuer, "countess", None, clock())
        add = accounts.add("countess", "countess@example.org", "Ada", None, clock())
        runtime.store.write_all(add, provider_links.add(link))

    monkeypatch.setattr(sign_in, "charge_attempt", charge_while_another_window_is_faster)

    assert take_address(browser) == 303

    assert [(account.sub, account.email) for account in list_accounts(app)] == [
        (other, EMAIL),
        ("countess", "countess@example.org"),
    ]
    assert list_events(runtime) == [("account.created", other), ("session.started", "countess")]


def test_a_taken_address_and_the_new_account_are_in_the_audit_log(
    app: Flask, runtime: Runtime, browser: ProviderBrowser, other: str
) -> None:
    reset = mail_link(runtime, RESET_PASSWORD, other)

    assert take_address(browser) == 303

    first, second = sorted(list_accounts(app), key=lambda account: account.email or "")
    assert (first.sub, first.email, second.email) == (other, None, EMAIL)
    events = list_events(runtime)
    assert ("account.created", second.sub) in events
    assert ("account.address_removed", other) in events
    assert not is_unused(reset, runtime)


def test_a_mailed_link_that_creates_no_account_leaves_no_event_and_other_links(
    make_app: MakeApp, store_url: str, provider: FakeProvider
) -> None:
    app = make_app(store_url, sign_in_with=[provider.provider()], mail_url="smtp://127.0.0.1:1")
    runtime: Runtime = app.extensions["valetkey"]
    secret = mail_link(runtime, SIGN_UP, None)
    browser_of(app, provider).sign_in(email_verified=False)
    (account,) = list_accounts(app)
    reset = mail_link(runtime, RESET_PASSWORD, account.sub)

    http, path = app.test_client(), f"/account/mail/{secret.reveal()}"
    response = http.post(path, data={"csrf_token": csrf_token(http.get(path)), "password": "a violet tram in june"})

    assert "There is already an account" in response.text
    assert list_events(runtime) == [("account.created", account.sub), ("session.started", account.sub)]
    assert is_unused(reset, runtime)
