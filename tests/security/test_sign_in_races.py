"""A sign-in or change of the password is refused if the password that it has verified is replaced before it writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, sign_in_new_account
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey.accounts import security, sign_in
from valetkey.accounts.password import hash_password, verify_password
from valetkey.accounts.sign_out import end_all_sessions_statements
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.accounts import Account
from valetkey.storage.engine.statement import BoundStatement

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
