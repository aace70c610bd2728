"""Signing out ends the access of apps that are informed of it; the pages name them, and those that keep access."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import Browser, sign_in_to_account
from tests.support.clock import NOW
from valetkey.authorization_server.openid.logout_token import deliver_logout_token
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import consents, grants, session_grants, sessions
from valetkey.storage.consents import Consent
from valetkey.storage.engine.statement import BoundStatement, sql_and_values
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant
from valetkey.storage.revocation_check import NOTHING_SEEN
from valetkey.storage.sessions import Session

BACK = {"backchannel_logout_uri": "https://back.example/out"}
FRONT = {"frontchannel_logout_uri": "https://shop.example/out"}


def obtain_token(ada: Browser, client: Any, *scope: str) -> str:
    """Obtain an access token of a client for Ada, who stays signed in."""
    return str(Browser(ada.http, client).obtain_tokens(scope=scope)["access_token"])


@pytest.fixture
def tokens(ada: Browser, register: Register) -> dict[str, str]:
    """The access token of each app, by the app's name."""
    return {
        "Informed": obtain_token(ada, register(name="Informed", members=BACK), "openid", "profile"),
        "Framed": obtain_token(ada, register(name="Framed", members=FRONT), "openid", "profile"),
        "Silent": obtain_token(ada, register(name="Silent"), "openid", "profile"),
        "Offline": obtain_token(ada, register(name="Offline", members=BACK), "openid", "profile", "offline_access"),
        "Plain": obtain_token(ada, register(name="Plain", members=BACK), "profile"),
    }


def names_after(page: str, sentence: str) -> list[str]:
    paragraph = page.partition(sentence)[2].partition("</p>")[0]
    return [part.partition("</bdi>")[0] for part in paragraph.split("<bdi>")[1:]]


def test_the_pages_name_the_apps_that_lose_their_access_and_those_that_keep_it(
    ada: Browser, tokens: dict[str, str]
) -> None:
    confirmation = ada.get("/oauth/logout").text
    signed_out = ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout").text

    kept = ["Offline", "Plain", "Silent"]
    assert names_after(confirmation, "These apps are notified and lose their access:") == ["Framed", "Informed"]
    assert names_after(confirmation, "These apps keep their access until you remove them:") == kept
    assert names_after(signed_out, "These apps lost their access:") == ["Framed", "Informed"]
    assert names_after(signed_out, "keep their access until you remove them in your account:") == kept


def test_access_ends_as_the_page_says(ada: Browser, tokens: dict[str, str]) -> None:
    ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout")

    statuses = {name: ada.call(token).status_code for name, token in tokens.items()}
    assert statuses == {"Informed": 401, "Framed": 401, "Silent": 200, "Offline": 200, "Plain": 200}


def test_nothing_is_named_if_no_app_has_access(ada: Browser) -> None:
    assert "their access" not in ada.get("/oauth/logout").text


def test_an_app_whose_metadata_document_is_fetched_after_the_sign_out_loses_its_access(
    ada: Browser, register: Register, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = register(name="Document", members=BACK)
    token = obtain_token(ada, client, "openid", "profile")
    owner = ada.call(token).json["user"]
    ((_, sid),) = session_grants.list_client_sessions(runtime.store, owner)
    with monkeypatch.context() as patch:  # as after a restart: the document is not cached
        patch.setattr(runtime.clients, "find_cached", lambda *_: None)
        patch.setattr(runtime.clients, "uses_metadata_document", lambda *_: True)
        ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout")
    assert ada.call(token).status_code == 200

    monkeypatch.setattr(runtime.fetcher, "post_form", lambda *_, **__: SimpleNamespace(status=200))
    deliver_logout_token(runtime, {"client_id": client.client_id, "owner": owner, "sid": sid}, runtime.clock())

    assert ada.call(token).status_code == 401


@pytest.fixture
def late(ada: Browser, app: Flask, register: Register, runtime: Runtime) -> Browser:
    """Ada's browser at an app that she has consented to in another session."""
    client = register(name="Late", members={"backchannel_logout_uri": "https://late.example/out"})
    obtain_token(sign_in_to_account(Browser(app.test_client(), client), runtime, "ada"), client, "openid")
    return Browser(ada.http, client)


@pytest.fixture
def notified(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that the worker has sent logout tokens to."""
    hosts: list[str] = []

    def post_form(url: str, *_: Any, **__: Any) -> SimpleNamespace:
        hosts.append(url.split("/")[2])
        return SimpleNamespace(status=200)

    monkeypatch.setattr(runtime.fetcher, "post_form", post_form)
    return hosts


def run_worker(runtime: Runtime) -> None:
    worker = runtime.make_worker()
    while worker.run_once():
        pass


def test_an_app_that_gets_a_token_while_the_user_signs_out_is_notified_and_loses_its_access(
    ada: Browser, late: Browser, runtime: Runtime, notified: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tab renews its token after the sign-out has read the apps of the session, and before it writes."""
    late_tokens, write = [], runtime.store.write

    def renew_and_write(transaction: Transaction) -> bool:
        monkeypatch.setattr(runtime.store, "write", write)
        late_tokens.append(late.obtain_tokens(scope=("openid",))["access_token"])
        return write(transaction)

    monkeypatch.setattr(runtime.store, "write", renew_and_write)
    ada.submit("/account/sign-out", {}, page_path="/account")
    run_worker(runtime)

    assert [ada.call(token).status_code for token in late_tokens] == [401]
    assert notified == ["late.example"]


def test_without_a_concurrent_grant_each_app_is_notified_once(
    ada: Browser, late: Browser, runtime: Runtime, notified: list[str]
) -> None:
    late.obtain_tokens(scope=("openid",))
    ada.submit("/account/sign-out", {}, page_path="/account")
    run_worker(runtime)

    assert notified == ["late.example"]


Addition = Callable[[Grant, Consent, Session], BoundStatement]


@pytest.fixture(params=["unless revoked", "if consented", "if consented and signed in"])
def add_grant(request: pytest.FixtureRequest) -> Addition:
    """Return the statement with which an authorization adds a grant: there is one for each way to it."""
    additions: dict[str, Addition] = {
        "unless revoked": lambda grant, *_: grants.add_unless_revoked(grant, NOTHING_SEEN),
        "if consented": lambda grant, consent, _: grants.add_if_consented(grant, consent),
        "if consented and signed in": lambda grant, consent, session: grants.add_if_consented_and_signed_in(
            grant, consent, session.digest, NOW
        ),
    }
    return additions[str(request.param)]


def make_addition(late: Browser, runtime: Runtime, add_grant: Addition) -> tuple[BoundStatement, str]:
    """Return a statement that adds a grant of Ada's session, and the id of the grant."""
    client_id = late.client.client_id
    cookie, consent = late.http.get_cookie("valetkey_session"), consents.find(runtime.store, "ada", client_id)
    assert cookie and consent
    session_and_account = sessions.find_active(runtime.store, Secret(cookie.value).digest(), NOW)
    assert session_and_account
    session = session_and_account[0]
    grant = Grant("new", client_id, "ada", "openid", "[]", None, None, None, NOW, NOW + 3600, sid=session.sid)
    return add_grant(grant, consent, session), grant.grant_id


def test_no_grant_is_added_to_a_session_that_has_ended(
    ada: Browser, late: Browser, runtime: Runtime, add_grant: Addition
) -> None:
    addition, grant_id = make_addition(late, runtime, add_grant)
    ada.submit("/account/sign-out", {}, page_path="/account")
    runtime.store.write(Transaction(addition))

    assert grants.find(runtime.store, grant_id) is None


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_the_end_of_a_session_finds_a_grant_whose_commit_takes_long(
    ada: Browser,
    late: Browser,
    runtime: Runtime,
    add_grant: Addition,
    notified: list[str],
    store_url: str,
) -> None:
    """Another process has added a grant of the session, and has not committed it yet."""
    addition, grant_id = make_addition(late, runtime, add_grant)
    with psycopg.connect(store_url) as other_process, ThreadPoolExecutor(1) as executor:
        assert other_process.execute(*sql_and_values(addition, "postgresql", runtime.clock)).rowcount == 1
        sign_out = executor.submit(ada.submit, "/account/sign-out", {}, "/account")
        time.sleep(0.3)
        is_done_early = sign_out.done()
        other_process.commit()
        sign_out.result()
    run_worker(runtime)

    added = grants.find(runtime.store, grant_id)
    assert added
    assert (is_done_early, added.revoked_at, notified) == (False, NOW, ["late.example"])
