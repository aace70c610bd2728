"""Personal access tokens that an app created: what they give after the app has lost scopes, or its grant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, jsonify

from tests.support.app import MakeApp
from tests.support.browser_client import SCOPES, Browser
from tests.support.clock import Clock
from tests.support.personal_tokens import MANAGE_SCOPE, TOKEN_REQUEST, create_token, open_managing_app
from valetkey import Plan, require_oauth
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.authorization_server.connected_apps import revoke_connected_app
from valetkey.authorization_server.personal_tokens.service import MAX_ACTIVE_TOKENS
from valetkey.authorization_server.plans.service import subscribe
from valetkey.protocol.errors import InvalidRequest
from valetkey.runtime import Runtime
from valetkey.storage import clients, personal_access_tokens
from valetkey.tokens import personal_access_tokens as personal_verifier
from valetkey.tokens import verifier

PLANS = {"all": Plan(), "few": Plan(scopes=f"profile {MANAGE_SCOPE}"), "none": Plan(scopes="")}


@pytest.fixture
def managing_app(make_app: MakeApp, store_url: str) -> Flask:
    """A server with plans, whose settings let clients manage personal access tokens."""
    return make_managing_app(make_app, store_url)


def make_managing_app(make_app: MakeApp, store_url: str) -> Flask:
    app = make_app(
        store_url,
        scopes={**SCOPES, MANAGE_SCOPE: "Make and revoke your personal access tokens"},
        personal_access_token_api_scope=MANAGE_SCOPE,
        plans=PLANS,
        default_plan="all",
    )

    @app.get("/api/written")
    @require_oauth("notes:write")
    def write() -> Any:
        return jsonify(ok=True)

    @app.get("/api/any")
    @require_oauth()
    def accept_any() -> Any:
        return jsonify(ok=True)

    return app


@pytest.fixture
def runtime(managing_app: Flask) -> Runtime:
    runtime: Runtime = managing_app.extensions["valetkey"]
    return runtime


@pytest.fixture
def browser_and_token(ada: Browser, managing_app: Flask) -> tuple[Browser, str]:
    """Ada's browser, and a token with two scopes that the app has created for her."""
    browser, header = open_managing_app(ada, managing_app, "profile", "notes:write")
    body = {**TOKEN_REQUEST, "scope": "profile notes:write"}
    token = browser.http.post("/oauth/personal-tokens", json=body, headers=header).json["token"]
    assert statuses(browser, token) == (200, 200)
    return browser, token


def statuses(browser: Browser, token: str) -> tuple[int, int]:
    """Return the statuses of a call that needs no lost scope, and of one that does."""
    return browser.call(token).status_code, browser.call(token, "/api/written").status_code


def change_plan(runtime: Runtime, client_id: str, plan: str) -> None:
    subscribe(runtime, client_id, plan, runtime.clock(), approved=True)


def change_scope(runtime: Runtime, client_id: str, scope: str) -> None:
    client = clients.find(runtime.store, client_id, runtime.clock())
    assert client
    update = check_update(runtime.settings, client, {**client.metadata, "scope": scope}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=True)


def test_a_token_has_only_the_scopes_that_the_plan_of_the_app_allows_now(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser
) -> None:
    browser, token = browser_and_token

    change_plan(runtime, ada.client.client_id, "few")
    assert statuses(browser, token) == (200, 403)

    change_plan(runtime, ada.client.client_id, "all")
    assert statuses(browser, token) == (200, 200)


def test_a_token_has_only_the_scopes_that_the_app_may_request_now(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser
) -> None:
    browser, token = browser_and_token

    change_scope(runtime, ada.client.client_id, f"profile {MANAGE_SCOPE}")
    assert statuses(browser, token) == (200, 403)

    change_scope(runtime, ada.client.client_id, f"profile notes:write {MANAGE_SCOPE}")
    assert statuses(browser, token) == (200, 200)


def test_a_token_of_an_app_that_has_lost_all_scopes_is_refused_also_where_none_is_required(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser
) -> None:
    browser, token = browser_and_token
    assert browser.call(token, "/api/any").status_code == 200

    change_plan(runtime, ada.client.client_id, "none")
    assert browser.call(token, "/api/any").status_code == 401
    assert browser.introspect(token).json == {"active": False}

    change_plan(runtime, ada.client.client_id, "all")
    assert browser.call(token, "/api/any").status_code == 200


def test_a_lost_scope_is_noticed_also_if_more_tokens_are_used_than_can_be_remembered(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, token = browser_and_token
    header = open_managing_app(ada, browser.http.application, "profile", "notes:write")[1]
    body = {**TOKEN_REQUEST, "scope": "profile notes:write"}
    others = [browser.http.post("/oauth/personal-tokens", json=body, headers=header).json["token"] for _ in range(3)]
    monkeypatch.setattr(verifier, "_MAX_CREATORS", 2)
    assert [statuses(browser, each) for each in (token, *others)] == [(200, 200)] * 4
    assert len(runtime.verifier._creators) <= 2

    change_plan(runtime, ada.client.client_id, "few")

    assert [statuses(browser, each) for each in (token, *others)] == [(200, 403)] * 4


def test_another_process_refuses_the_lost_scope_within_a_second(
    browser_and_token: tuple[Browser, str],
    ada: Browser,
    make_app: MakeApp,
    store_url: str,
    clock: Clock,
) -> None:
    browser, token = browser_and_token
    other = make_managing_app(make_app, store_url)

    change_plan(other.extensions["valetkey"], ada.client.client_id, "few")

    assert Browser(other.test_client(), ada.client).call(token, "/api/written").status_code == 403
    clock.forward(0.6)
    assert statuses(browser, token) == (200, 403)


def test_a_token_that_is_verified_while_the_plan_changes_is_not_cached_with_the_lost_scope(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, token = browser_and_token
    runtime.verifier.invalidate_cache()
    current_scope = personal_verifier.current_scope

    def read_scope_before_the_plan_changes(*arguments: Any) -> frozenset[str]:
        monkeypatch.undo()
        scope = current_scope(*arguments)
        change_plan(runtime, ada.client.client_id, "few")
        return scope

    monkeypatch.setattr(personal_verifier, "current_scope", read_scope_before_the_plan_changes)
    browser.call(token)

    assert statuses(browser, token) == (200, 403)


def test_a_token_that_the_user_created_does_not_depend_on_the_plan_of_an_app(
    browser_and_token: tuple[Browser, str], runtime: Runtime, ada: Browser, managing_app: Flask
) -> None:
    browser, _ = browser_and_token
    own = create_token(managing_app, "profile", "notes:write").secret.reveal()

    change_plan(runtime, ada.client.client_id, "few")

    assert statuses(browser, own) == (200, 200)


def test_tokens_of_a_revoked_grant_are_shown_as_revoked_and_make_room_for_others(
    ada: Browser, managing_app: Flask, runtime: Runtime, clock: Clock
) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header)
    (token,) = personal_access_tokens.list_by_owner(runtime.store, "ada")
    for number in range(1, MAX_ACTIVE_TOKENS):
        copy = replace(token, token_id=f"copy-{number}", digest=number.to_bytes(32, "big"))
        assert runtime.store.write_all(personal_access_tokens.add(copy)) is None
    with pytest.raises(InvalidRequest, match="revoke one"):
        create_token(managing_app)

    revoke_connected_app("ada", ada.client.client_id, None, runtime.store, clock())

    listed = personal_access_tokens.list_by_owner(runtime.store, "ada")
    assert {token.revoked_at for token in listed} == {clock()}
    assert personal_access_tokens.find(runtime.store, token.token_id) == replace(token, revoked_at=clock())
    create_token(managing_app)
    page = browser.get("/account/tokens").text
    assert page.count("token_id=") == 1
