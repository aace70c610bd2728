"""A sign-in or a new password is refused if the account is changed after it was read, and before it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, sign_in_new_account
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey.accounts import mail_links, security, sign_in
from valetkey.accounts.administration import change_account
from valetkey.accounts.password import hash_password, verify_password
from valetkey.accounts.security import disable_account
from valetkey.accounts.sign_out import end_all_sessions_statements
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.secret import MAIL_LINK, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, provider_links
from valetkey.storage import mail_links as stored_links
from valetkey.storage.accounts import Account
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink
from valetkey.storage.provider_links import ProviderLink

NEW_PASSWORD = "a yellow ferry in may"


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url)


@pytest.fixture
def thief(app: Flask) -> Browser:
    """A browser in which somebody signed in to Ada's account with her old password."""
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=["https://shop.example/back"]
    )
    browser = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    runtime.store.write_all(accounts.set_password("ada", hash_password(PASSWORD)))
    return browser


def _reset_password(account: Account, runtime: Runtime) -> tuple[BoundStatement, ...]:
    return (accounts.set_password(account.sub, hash_password(NEW_PASSWORD)),)


def _disable(account: Account, runtime: Runtime) -> tuple[BoundStatement, ...]:
    return (accounts.set_disabled(account.sub, runtime.clock()),)


Change = Callable[[Account, Runtime], tuple[BoundStatement, ...]]


@pytest.fixture(params=[_reset_password, _disable])
def overtaken(request: pytest.FixtureRequest, app: Flask, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The app, in which the owner's reset or the operator is faster: it commits after the old password was verified."""
    runtime: Runtime = app.extensions["valetkey"]
    change: Change = request.param

    def verify_slowly(password: str, password_hash: str | None) -> bool:
        is_correct = verify_password(password, password_hash)
        account = accounts.find_by_email(runtime.store, EMAIL)
        assert account is not None
        ended = end_all_sessions_statements(account.sub, runtime, runtime.clock())
        runtime.store.write_all(*change(account, runtime), *ended)
        return is_correct

    for module in (sign_in, security):
        monkeypatch.setattr(module, "verify_password", verify_slowly)
    return runtime


def test_a_sign_in_with_a_password_that_was_replaced_meanwhile_starts_no_session(
    thief: Browser, overtaken: Runtime, app: Flask
) -> None:
    sessions = count_rows(overtaken.store, "valetkey_sessions")
    other_browser = Browser(app.test_client(), thief.client)

    response = other_browser.sign_in(EMAIL, PASSWORD)

    assert response.status_code == 400
    assert "The e-mail address or the password is wrong." in response.text
    assert other_browser.get("/account").status_code == 303
    assert count_rows(overtaken.store, "valetkey_sessions") == sessions


def test_a_change_of_a_password_that_was_replaced_meanwhile_changes_nothing(thief: Browser, overtaken: Runtime) -> None:
    response = thief.submit("/account/password", {"current": PASSWORD, "password": "the thief's own choice"})

    assert response.status_code == 400
    account = accounts.find_by_email(overtaken.store, EMAIL)
    assert account is not None
    assert not verify_password("the thief's own choice", account.password_hash)
    assert thief.get("/account").status_code == 303


def _other_address(account: Account, runtime: Runtime) -> None:
    change_account(account, replace(account, email="new@example.org"), runtime.store, runtime.clock())


def _disabled(account: Account, runtime: Runtime) -> None:
    disable_account(account.sub, runtime, runtime.clock())


@pytest.mark.parametrize("change", [_other_address, _disabled])
@pytest.mark.parametrize("purpose", [mail_links.RESET_PASSWORD, mail_links.VERIFY_EMAIL])
def test_a_link_that_the_worker_mails_while_the_account_is_changed_changes_nothing(
    thief: Browser, app: Flask, purpose: str, change: Callable[[Account, Runtime], None]
) -> None:
    """The worker has read the account before the change, and adds the link after it."""
    runtime: Runtime = app.extensions["valetkey"]
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    provider = ProviderLink("ada-1", "https://provider.example", account.sub, EMAIL, runtime.clock())
    runtime.store.write_all(provider_links.add(provider))
    change(account, runtime)
    secret = _add_link(purpose, account, runtime)

    owner_of_mailbox = thief if purpose == mail_links.VERIFY_EMAIL else Browser(app.test_client(), thief.client)
    owner_of_mailbox.submit(
        f"/account/mail/{secret.reveal()}", {"password": NEW_PASSWORD}, page_path="/account/sign-in"
    )

    changed = accounts.find(runtime.store, account.sub)
    assert changed is not None
    assert changed.email_verified_at is None
    assert verify_password(PASSWORD, changed.password_hash)
    assert [link.issuer for link in provider_links.list_of_account(runtime.store, account.sub)] == [provider.issuer]


def test_a_link_for_an_account_is_no_way_to_guess_the_password_of_another_one(thief: Browser, app: Flask) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    _other_address(account, runtime)
    secret = _add_link(mail_links.RESET_PASSWORD, account, runtime)
    other = accounts.add("eve", EMAIL, "Eve", hash_password(NEW_PASSWORD), runtime.clock())
    runtime.store.write(Transaction(other))

    browser = Browser(app.test_client(), thief.client)
    assert browser.submit(f"/account/mail/{secret.reveal()}", {"password": NEW_PASSWORD}).status_code == 400

    assert browser.get("/account").status_code == 303


def _add_link(purpose: str, account: Account, runtime: Runtime) -> Secret:
    """Add a link as the worker does that has read this account, and return its secret."""
    secret = generate_secret(MAIL_LINK)
    link = MailLink(secret.digest(), purpose, EMAIL, account.sub, "", "", runtime.clock() + 60)
    runtime.store.write_all(stored_links.add(link))
    return secret
