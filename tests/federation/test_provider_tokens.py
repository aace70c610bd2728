"""``provider_token``: the provider's access token for the host app."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.every_table import open_engine, read_rows
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, list_accounts
from valetkey import ProviderUnavailable, Valetkey, provider_token
from valetkey.federation.links import disconnect_by_operator
from valetkey.runtime import Runtime
from valetkey.storage import provider_links as stored_links
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.tables import provider_links


@pytest.fixture
def app(make_app: MakeApp, store_url: str, provider: FakeProvider) -> Flask:
    provider.token_response = {"refresh_token": "rt-1", "expires_in": 300}
    return make_app(store_url, sign_in_with=[provider.provider(keep_tokens=True)])


@pytest.fixture
def sub(app: Flask, browser: ProviderBrowser) -> str:
    """The account of a user who has signed in with the provider."""
    browser.sign_in()
    return list_accounts(app)[0].sub


def get_token(app: Flask, sub: str) -> str | None:
    with app.app_context():
        return provider_token(sub, "example")


def refresh_with(provider: FakeProvider, status: int, body: Any) -> list[dict[str, str]]:
    """Make the provider answer refresh requests; return their forms."""
    forms: list[dict[str, str]] = []

    def reply(form: dict[str, str]) -> tuple[int, Any]:
        forms.append(form)
        return status, body

    provider.token_response = reply
    return forms


def test_the_token_is_stored_encrypted_and_returned(app: Flask, sub: str, store_url: str) -> None:
    assert get_token(app, sub) == "at-1"

    engine = open_engine(store_url)
    (row,) = read_rows(engine, provider_links)
    engine.dispose()
    assert b"at-1" not in row["tokens"] and b"rt-1" not in row["tokens"]


def test_an_expired_token_is_refreshed_once_and_the_new_refresh_token_is_stored(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock
) -> None:
    clock.forward(250)
    body = {"access_token": "at-2", "refresh_token": "rt-2", "token_type": "Bearer", "expires_in": 300}
    forms = refresh_with(provider, 200, body)

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(lambda _: get_token(app, sub), range(4)))

    assert tokens == ["at-2"] * 4
    assert [form["refresh_token"] for form in forms] == ["rt-1"]
    clock.forward(250)
    get_token(app, sub)
    assert forms[1]["refresh_token"] == "rt-2"


@pytest.mark.parametrize(
    "reply", [(400, {"error": "invalid_grant"}), (200, {"error": "bad_refresh_token"})], ids=["RFC 6749", "GitHub"]
)
def test_a_refresh_token_that_the_provider_refuses_is_removed(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock, browser: ProviderBrowser, reply: tuple[int, Any]
) -> None:
    clock.forward(400)
    forms = refresh_with(provider, *reply)

    assert get_token(app, sub) is None
    assert get_token(app, sub) is None
    assert len(forms) == 1
    assert browser.is_signed_in()


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}),
        (503, {"error": "invalid_grant"}),
        (400, {"error": "invalid_client"}),
        (429, {"message": "slow down"}),
        (429, {"error": {"code": 429}}),
        (403, {"access_token": "at-3"}),
        (302, {}),
        (200, b"no JSON"),
        (200, {}),
        (200, []),
        (200, {"access_token": 5}),
        (200, {"access_token": ""}),
    ],
)
def test_a_provider_that_fails_keeps_the_refresh_token_for_the_next_time(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock, reply: tuple[int, Any]
) -> None:
    clock.forward(400)
    refresh_with(provider, *reply)
    with pytest.raises(ProviderUnavailable):
        get_token(app, sub)

    refresh_with(provider, 200, {"access_token": "at-2", "token_type": "Bearer", "expires_in": 300})
    assert get_token(app, sub) == "at-2"


def test_tokens_that_are_refreshed_while_the_access_of_the_user_ends_are_not_stored(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock, store_url: str
) -> None:
    clock.forward(400)

    def reply(form: dict[str, str]) -> tuple[int, Any]:
        Valetkey.revoke_owner(app, sub)
        return 200, {"access_token": "at-2", "token_type": "Bearer", "expires_in": 300}

    provider.token_response = reply

    assert get_token(app, sub) is None
    engine = open_engine(store_url)
    assert [row["tokens"] for row in read_rows(engine, provider_links)] == [None]
    engine.dispose()


def test_a_refresh_that_is_refused_does_not_remove_the_tokens_of_a_sign_in_meanwhile(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock
) -> None:
    clock.forward(400)

    def reply(form: dict[str, str]) -> tuple[int, Any]:
        provider.token_response = {"access_token": "at-3", "refresh_token": "rt-3"}
        browser_of(app, provider).sign_in()  # the provider then revokes rt-1
        return 400, {"error": "invalid_grant"}

    provider.token_response = reply

    assert get_token(app, sub) == "at-3"


def test_two_processes_refresh_a_token_once(
    app: Flask, make_app: MakeApp, store_url: str, sub: str, provider: FakeProvider, clock: Clock
) -> None:
    other = make_app(store_url, sign_in_with=[provider.provider(keep_tokens=True)])
    clock.forward(400)
    forms = refresh_with(provider, 200, {"access_token": "at-2", "refresh_token": "rt-2", "expires_in": 300})

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(get_token, [app, other] * 2, [sub] * 4)) == ["at-2"] * 4

    assert len(forms) == 1


@pytest.mark.parametrize("remaining_s", [0.5, 3600], ids=["that ends soon", "from before the clock was set back"])
def test_a_refresh_of_a_process_that_was_killed_is_repeated(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock, remaining_s: float
) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    (link,) = stored_links.list_of_account(runtime.store, sub)
    assert runtime.store.write(Transaction(stored_links.begin_refresh(link, remaining_s)))
    clock.forward(400)
    forms = refresh_with(provider, 200, {"access_token": "at-2", "token_type": "Bearer", "expires_in": 300})

    assert get_token(app, sub) == "at-2"

    assert len(forms) == 1
    assert not runtime.store.write(Transaction(stored_links.begin_refresh(link, 15))), "the tokens are other ones"


@pytest.mark.parametrize(("expires_in", "is_refreshed"), [("300", True), (None, False), (-1, False), (10**400, False)])
def test_a_lifetime_may_be_a_text_and_one_that_is_no_number_of_seconds_is_unknown(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, clock: Clock, expires_in: object, is_refreshed: bool
) -> None:
    provider.token_response = {"refresh_token": "rt-1", "expires_in": expires_in}
    browser.sign_in()
    clock.forward(400)
    refresh_with(provider, 200, {"access_token": "at-2", "token_type": "Bearer", "expires_in": 300})

    assert get_token(app, list_accounts(app)[0].sub) == ("at-2" if is_refreshed else "at-1")


def test_connecting_again_stores_tokens(app: Flask, sub: str, browser: ProviderBrowser, provider: FakeProvider) -> None:
    Valetkey.revoke_owner(app, sub)
    browser.sign_in()
    provider.token_response = {"access_token": "at-2"}
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.http.get("/account").text)
    assert token
    begun = browser.http.post("/account/sign-in/example/connect", data={"csrf_token": token[1]})

    assert browser.finish(provider.answer(begun.location)).status_code == 303
    assert get_token(app, sub) == "at-2"


def test_a_sign_in_without_a_new_refresh_token_keeps_the_present_one(
    app: Flask, sub: str, provider: FakeProvider, clock: Clock
) -> None:
    provider.token_response = {}
    browser_of(app, provider).sign_in()
    clock.forward(400)
    forms = refresh_with(provider, 200, {"access_token": "at-2", "token_type": "Bearer", "expires_in": 300})

    assert get_token(app, sub) == "at-2"
    assert forms[0]["refresh_token"] == "rt-1"


def test_the_tokens_end_with_the_access_of_the_user(app: Flask, sub: str) -> None:
    Valetkey.revoke_owner(app, sub)

    assert get_token(app, sub) is None


def test_the_tokens_end_with_the_connection(app: Flask, sub: str) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    (link,) = stored_links.list_of_account(runtime.store, sub)

    disconnect_by_operator(link, runtime, runtime.clock())

    assert get_token(app, sub) is None


def test_without_keep_tokens_nothing_is_stored(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()])
    browser_of(app, provider).sign_in()

    engine = open_engine(sqlite_store_url)
    assert [row["tokens"] for row in read_rows(engine, provider_links)] == [None]
    engine.dispose()
    with pytest.raises(LookupError, match="keep_tokens"):
        get_token(app, list_accounts(app)[0].sub)
