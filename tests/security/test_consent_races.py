"""Decisions of one user about one app that are written at the same time, by two processes or in two tabs."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from flask import Flask

from tests.support.browser_client import Browser, redirect_parameters, sign_in_to_account
from tests.support.clock import Clock
from tests.support.store_assertions import count_rows
from valetkey.authorization_server.authorize.consent_record import ConsentDecision, consent_statements
from valetkey.protocol.resource_owner import Owner
from valetkey.resource_owner import views
from valetkey.runtime import Runtime
from valetkey.storage import consents, grants
from valetkey.storage.engine.open import sqlite_path
from valetkey.storage.engine.transaction import Transaction

BOTH = ("notes:read", "profile")


def test_a_withdrawal_waits_for_a_decision_that_is_being_written_and_narrows_its_grant(
    ada: Browser, runtime: Runtime, store_url: str, clock: Clock
) -> None:
    """Another process has written a consent and a grant with the scope, and has not committed them yet."""
    ada.obtain_tokens(scope=BOTH)
    client = runtime.clients.find(ada.client.client_id, clock())
    assert client
    decision = ConsentDecision(
        client,
        client.identity,
        BOTH,
        ("notes:read",),
        (runtime.settings.api_resource,),
        frozenset(),
        Owner("ada"),
        None,
    )
    rows = consent_statements(decision, runtime, clock())
    is_sqlite = runtime.store.dialect == "sqlite"
    other_process: Any = sqlite3.connect(sqlite_path(store_url) or "") if is_sqlite else psycopg.connect(store_url)
    with closing(other_process), ThreadPoolExecutor(1) as executor:
        other_process.execute("UPDATE valetkey_consents SET granted_at = granted_at + 1")
        copied = "client_id, owner, scope, resources, created_at, expires_at"
        copy = "INSERT INTO valetkey_grants (grant_id, {0}) SELECT 'late', {0} FROM valetkey_grants"
        other_process.execute(copy.format(copied))
        write = executor.submit(runtime.store.write, Transaction(rows=rows))
        time.sleep(0.3)
        is_done_early = write.done()
        other_process.commit()
        write.result()

    late = grants.find(runtime.store, "late")
    assert late
    assert (is_done_early, late.scope) == (False, "notes:read")


def begin_and_sign_in(ada: Browser, app: Flask, runtime: Runtime) -> tuple[Browser, str]:
    """Return another browser of Ada's, who signed in after the app sent her, and the path of the consent page."""
    browser = sign_in_to_account(Browser(app.test_client(), ada.client), runtime, "ada")
    session = browser.http.get_cookie("valetkey_session")
    browser.http.delete_cookie("valetkey_session")
    consent_url = browser.authorize().location
    assert session
    browser.http.set_cookie("valetkey_session", session.value)
    return browser, consent_url


@pytest.mark.parametrize("withdraws", ["the consent", "a scope"])
def test_loading_the_consent_page_does_not_restore_a_consent_that_is_withdrawn_meanwhile(
    ada: Browser, app: Flask, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, withdraws: str
) -> None:
    """A user who has consented before signs in: the page sends them to the app without a click."""
    ada.obtain_code()
    browser, consent_url = begin_and_sign_in(ada, app, runtime)

    def find_and_withdraw(owner: Any, client_id: str, store: Any) -> Any:
        monkeypatch.undo()
        consent = views.find_consent(owner, client_id, store)
        if withdraws == "the consent":
            store.write_all(consents.remove("ada", client_id))
        else:
            store.write_all(consents.remove_scope("ada", client_id, "profile"))
        return consent

    monkeypatch.setattr(views, "find_consent", find_and_withdraw)
    page = browser.get(consent_url)

    assert page.status_code == 200 and 'id="allow"' in page.text
    assert count_rows(runtime.store, "valetkey_grants") == 1
    left = consents.find(runtime.store, "ada", ada.client.client_id)
    assert left is None or left.scope == ""
    assert redirect_parameters(browser.approve(consent_url))["code"]


def test_a_user_who_has_consented_is_sent_to_the_app_after_the_sign_in_once(
    ada: Browser, app: Flask, runtime: Runtime
) -> None:
    ada.obtain_code()
    browser, consent_url = begin_and_sign_in(ada, app, runtime)

    first, second = browser.get(consent_url), browser.get(consent_url)

    assert redirect_parameters(first)["code"] == redirect_parameters(second)["code"]
    assert browser.redeem(redirect_parameters(first)["code"]).status_code == 200
