"""In-process caches of codes, tokens and sessions: they save queries, but never hide what another process wrote."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, EMAIL, Browser, redirect_parameters, sign_in_new_account
from tests.support.clock import Clock
from valetkey.authorization_server.clients.service import register_client
from valetkey.caches.owners import OwnerCache
from valetkey.protocol import scope as scopes
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit, consents, grants, sessions
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    app = make_app(store_url, endpoints_bypass_flask=True)
    app.extensions["valetkey"].get_ready()
    return app


@pytest.fixture
def other_process(make_app: MakeApp, store_url: str, app: Flask, ada: Browser) -> Browser:
    """Ada's browser at another process that uses the same store."""
    other = make_app(store_url, endpoints_bypass_flask=True)
    other.extensions["valetkey"].get_ready()
    http = other.test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie is not None
        http.set_cookie(name, cookie.value)
    return Browser(http, ada.client)


@pytest.fixture
def queries(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL of the queries that the store has received since the last ``clear``."""
    recorded: list[str] = []
    fetch_all = Store.fetch_all

    def fetch_all_and_record(self: Store, bound: Any) -> Any:
        recorded.append(bound.statement.compile(self.dialect).sql)
        return fetch_all(self, bound)

    monkeypatch.setattr(Store, "fetch_all", fetch_all_and_record)
    return recorded


def status_and_description(response: TestResponse) -> tuple[int, str]:
    return response.status_code, (response.json or {}).get("error_description", "")


def audit_events(runtime: Runtime) -> list[str]:
    return [recorded.row.event for recorded in audit.list_latest(runtime.store, 50)]


def test_a_repeated_flow_sends_no_queries_to_the_store(ada: Browser, runtime: Runtime, queries: list[str]) -> None:
    ada.obtain_tokens()
    ada.obtain_tokens()
    runtime.feed.refresh()
    queries.clear()

    tokens = ada.obtain_tokens()
    ada.refresh(tokens["refresh_token"])

    assert [sql for sql in queries if "valetkey_limits" not in sql] == []


def test_replaying_a_code_redeemed_in_another_process_revokes_the_grant(ada: Browser, other_process: Browser) -> None:
    code = ada.obtain_code()
    tokens = other_process.redeem(code).json

    assert status_and_description(ada.redeem(code)) == (400, "the code was used before")
    assert status_and_description(other_process.refresh(tokens["refresh_token"])) == (400, "the grant was revoked")


OTHER_ERRORS = {"expired": {}, "for another resource": {"resource": "https://elsewhere.example"}}


@pytest.mark.parametrize("case", OTHER_ERRORS)
def test_a_replay_revokes_the_grant_even_if_the_request_has_other_errors(
    ada: Browser, other_process: Browser, runtime: Runtime, clock: Clock, case: str
) -> None:
    code = ada.obtain_code()
    tokens = other_process.redeem(code).json
    clock.forward(61)

    assert status_and_description(ada.redeem(code, **OTHER_ERRORS[case])) == (400, "the code was used before")
    assert "code.replayed" in audit_events(runtime)
    assert status_and_description(other_process.refresh(tokens["refresh_token"])) == (400, "the grant was revoked")


def test_refresh_token_reuse_revokes_the_family_even_if_the_request_has_other_errors(
    ada: Browser, other_process: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    successor = other_process.refresh(token).json["refresh_token"]
    clock.forward(3600)

    assert status_and_description(ada.refresh(token, scope="profile notes:write")) == (
        400,
        "the refresh token was used before",
    )
    assert "refresh_token.reused" in audit_events(runtime)
    assert status_and_description(other_process.refresh(successor)) == (400, "the grant was revoked")


def test_a_refused_request_uses_up_neither_code_nor_refresh_token(ada: Browser) -> None:
    code = ada.obtain_code()
    assert ada.redeem(code, resource="https://elsewhere.example").json["error"] == "invalid_target"
    token = ada.redeem(code).json["refresh_token"]
    assert ada.refresh(token, scope="notes:write").json["error"] == "invalid_scope"
    assert ada.refresh(token).status_code == 200


def test_a_code_is_not_used_up_if_its_id_token_cannot_be_generated(
    ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = ada.obtain_code(scope=("openid", "profile"))
    with monkeypatch.context() as down:
        down.setattr("valetkey.authorization_server.token.grants.issue.make_id_token", _fail)
        assert ada.redeem(code).status_code == 503

    assert ada.redeem(code).json["id_token"]


def _fail(*_: Any) -> Any:
    raise StoreUnavailable("down")


def test_a_code_of_a_grant_revoked_in_another_process_is_not_a_replay(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    code = ada.obtain_code()
    runtime.store.write(Transaction(rows=(grants.revoke_all_of_owner("ada", clock()),)))

    assert status_and_description(ada.redeem(code)) == (400, "the grant was revoked")
    assert "code.replayed" not in audit_events(runtime)


def test_a_retry_gets_the_response_of_another_process(ada: Browser, other_process: Browser) -> None:
    first = ada.obtain_tokens()["refresh_token"]
    used = other_process.refresh(first)

    assert ada.refresh(first).data == used.data
    second = used.json["refresh_token"]
    assert ada.refresh(second).status_code == 200
    assert status_and_description(other_process.refresh(second))[0] == 200  # the same response again
    assert status_and_description(ada.refresh(first)) == (400, "the refresh token was used before")
    assert status_and_description(other_process.refresh(second)) == (400, "the grant was revoked")


def test_a_refresh_token_of_a_grant_revoked_in_another_process_is_refused(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    runtime.store.write(Transaction(rows=(grants.revoke_all_of_owner("ada", clock()),)))

    assert status_and_description(ada.refresh(token)) == (400, "the grant was revoked")
    assert "refresh_token.reused" not in audit_events(runtime)


def test_a_grant_is_extended_at_most_once_a_day(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    """The cached grant has the extended expiry too."""
    token, expiries = ada.obtain_tokens()["refresh_token"], set()
    for _ in range(4):
        clock.forward(3600)
        token = ada.refresh(token).json["refresh_token"]
        expiries.add(runtime.store.fetch_one(grants._FIND_GRANT(grant_id=_grant_of(runtime)))[9])
    assert len(expiries) == 1
    clock.forward(86_400)
    ada.refresh(token)
    assert runtime.store.fetch_one(grants._FIND_GRANT(grant_id=_grant_of(runtime)))[9] > max(expiries) + 86_400


def _grant_of(runtime: Runtime) -> str:
    [(_, grant)] = runtime.recent_refresh_tokens._entries.values()
    return grant.grant_id


def needs_prompt(response: TestResponse) -> bool:
    """Whether the browser is redirected to a page of Valetkey, not to the client."""
    assert response.status_code == 303
    return not response.location.startswith(CALLBACK)


CHANGES = {
    "signed out": lambda now, client_id: sessions.end_all("ada", now),
    "disabled": lambda now, client_id: accounts.set_disabled("ada", now),
    "revoked": lambda now, client_id: consents.remove("ada", client_id),
}


@pytest.mark.parametrize("case", CHANGES)
def test_silent_authorization_stops_after_a_change_in_another_process(
    ada: Browser, runtime: Runtime, clock: Clock, case: str
) -> None:
    ada.obtain_code()
    ada.obtain_code()
    assert not needs_prompt(ada.authorize())
    runtime.store.write(Transaction(rows=(CHANGES[case](clock(), ada.client.client_id),)))

    assert needs_prompt(ada.authorize())
    assert needs_prompt(ada.authorize())


def test_silent_authorization_stops_when_the_session_expires(ada: Browser, clock: Clock) -> None:
    ada.obtain_code()
    ada.obtain_code()
    clock.forward(86_399)
    assert not needs_prompt(ada.authorize())
    clock.forward(1)

    assert needs_prompt(ada.authorize())


def test_a_consent_narrowed_in_another_process_causes_a_prompt(
    ada: Browser, runtime: Runtime, clock: Clock, queries: list[str]
) -> None:
    scope = ("notes:write", "profile")
    ada.obtain_code(scope=scope)
    ada.obtain_code(scope=scope)
    assert not needs_prompt(ada.authorize(scope=" ".join(scope)))
    runtime.store.write(Transaction(rows=(consents.remove_scope("ada", ada.client.client_id, "notes:write"),)))

    assert needs_prompt(ada.authorize(scope=" ".join(scope)))
    assert not needs_prompt(ada.authorize())
    queries.clear()
    assert not needs_prompt(ada.authorize())
    assert [sql for sql in queries if "valetkey_limits" not in sql] == []  # the outdated cache entry was discarded


def test_a_cached_session_is_valid_for_its_client_only(ada: Browser, runtime: Runtime) -> None:
    ada.obtain_code()
    ada.obtain_code()
    other = register_client(runtime, runtime.clock(), name="Other", policy="web", redirect_uris=[CALLBACK])

    assert needs_prompt(Browser(ada.http, other).authorize())


def test_the_cached_sessions_of_two_owners_are_separate(ada: Browser, app: Flask, runtime: Runtime) -> None:
    ada.obtain_code()
    ada.obtain_code()
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, f"eve-{EMAIL}", "Eve")

    assert needs_prompt(eve.authorize())
    assert redirect_parameters(ada.authorize())["code"]


def test_owners_are_not_cached_if_the_host_reports_no_changes(runtime: Runtime) -> None:
    accounts_of_host = {"ada": Owner("ada")}
    owners = OwnerCache(accounts_of_host.get, runtime.feed, lambda: False)
    assert owners.is_active("ada", 1.0)
    accounts_of_host.clear()

    assert not owners.is_active("ada", 1.0)


def test_long_scopes_are_not_cached() -> None:
    entries_before = scopes._parse_cached.cache_info().currsize
    for number in range(300):
        scopes.parse_scope(f"{number} {'x' * 1000}")

    assert scopes._parse_cached.cache_info().currsize == entries_before
