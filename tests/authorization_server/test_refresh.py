"""Refresh tokens (RFC 6749 §6): rotation, reuse detection, and the retry of a lost response (RFC 9700 §4.14)."""

from __future__ import annotations

import pytest

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, EMAIL, ISSUER, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.authorization_server.plans.service import subscribe
from valetkey.runtime import Runtime
from valetkey.storage import accounts, active_grants, change_feed, clients, resources
from valetkey.storage.engine.transaction import Transaction

pytestmark = pytest.mark.usefixtures("issuing_process")


def test_a_refresh_token_is_replaced_when_it_is_used(ada: Browser) -> None:
    first = ada.obtain_tokens()

    second = ada.refresh(first["refresh_token"])

    assert second.status_code == 200
    assert second.headers["Cache-Control"] == "no-store"
    assert second.json["refresh_token"] != first["refresh_token"]
    assert second.json["access_token"] != first["access_token"]
    assert second.json["scope"] == first["scope"]
    assert ada.call(second.json["access_token"]).status_code == 200
    assert ada.call(first["access_token"]).status_code == 200


def test_a_retry_within_the_window_gets_the_same_response(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    first = ada.refresh(token)
    clock.forward(seconds=10)
    with assert_store_unchanged(runtime):
        again = ada.refresh(token)

    assert again.status_code == 200
    assert again.data == first.data
    assert again.headers["Cache-Control"] == "no-store"
    assert count_rows(runtime.store, "valetkey_audit") > 0


def test_refresh_token_reuse_after_the_window_revokes_the_family(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    tokens = ada.refresh(token).json
    clock.forward(seconds=10.1)

    check_refusal(ada.refresh(token), "invalid_grant")

    assert ada.call(tokens["access_token"]).status_code == 401
    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")


def test_refresh_token_reuse_after_its_successor_was_used_revokes_the_family(ada: Browser) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    successor = ada.refresh(token).json["refresh_token"]
    newest = ada.refresh(successor).json

    check_refusal(ada.refresh(token), "invalid_grant")

    check_refusal(ada.refresh(newest["refresh_token"]), "invalid_grant")
    assert ada.call(newest["access_token"]).status_code == 401


def test_a_retry_with_other_parameters_revokes_the_family(ada: Browser) -> None:
    token = ada.obtain_tokens(scope=("notes:read", "profile"))["refresh_token"]
    tokens = ada.refresh(token).json

    check_refusal(ada.refresh(token, scope="profile"), "invalid_grant")

    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")


def test_refresh_token_reuse_without_a_retry_window_revokes_the_family(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, refresh_retry_window=0)
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    token = ada.obtain_tokens()["refresh_token"]
    before = count_rows(runtime.store, "valetkey_retry_answers")
    tokens = ada.refresh(token).json

    check_refusal(ada.refresh(token), "invalid_grant")

    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")
    assert ada.call(tokens["access_token"]).status_code == 401
    assert count_rows(runtime.store, "valetkey_retry_answers") == before


def test_the_stored_retry_response_is_encrypted(ada: Browser, runtime: Runtime) -> None:
    from tests.support.store_assertions import dump_store

    token = ada.obtain_tokens()["refresh_token"]
    before = count_rows(runtime.store, "valetkey_retry_answers")
    tokens = ada.refresh(token).json

    assert count_rows(runtime.store, "valetkey_retry_answers") == before + 1
    content = dump_store(runtime)
    assert tokens["refresh_token"].encode() not in content
    assert tokens["access_token"].encode() not in content


def test_a_retry_does_not_restore_a_revoked_family(ada: Browser) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    successor = ada.refresh(token).json["refresh_token"]
    ada.revoke(successor)

    check_refusal(ada.refresh(token), "invalid_grant")


def test_another_client_can_neither_use_nor_revoke_a_family(ada: Browser, register: Register, runtime: Runtime) -> None:
    other = Browser(ada.http, register(name="Other"))
    token = ada.obtain_tokens()["refresh_token"]
    tokens = ada.refresh(token).json
    with assert_store_unchanged(runtime):
        check_refusal(other.refresh(tokens["refresh_token"]), "invalid_grant")
        check_refusal(other.refresh(token), "invalid_grant")

    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_a_narrowed_scope_applies_to_one_access_token_only(ada: Browser) -> None:
    token = ada.obtain_tokens(scope=("notes:read", "profile"))["refresh_token"]

    narrowed = ada.refresh(token, scope="notes:read").json
    unnarrowed = ada.refresh(narrowed["refresh_token"]).json

    assert narrowed["scope"] == "notes:read"
    assert ada.call(narrowed["access_token"]).status_code == 403
    assert unnarrowed["scope"] == "notes:read profile"


REFUSALS = {
    "wider scope": ({"scope": "profile notes:write"}, "invalid_scope"),
    "unknown scope": ({"scope": "root"}, "invalid_scope"),
    "malformed scope": ({"scope": 'a"b'}, "invalid_scope"),
    "other resource": ({"resource": "https://other.example"}, "invalid_target"),
    "wider resource": ({"resource": [ISSUER, "https://other.example"]}, "invalid_target"),
    "no token": ({"refresh_token": None}, "invalid_request"),
    "unknown token": ({"refresh_token": "vk_rt_" + "a" * 50}, "invalid_grant"),
    "malformed token": ({"refresh_token": "x" * 5000}, "invalid_grant"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_request_does_not_use_up_the_refresh_token(ada: Browser, runtime: Runtime, case: str) -> None:
    changes, error = REFUSALS[case]
    token = ada.obtain_tokens()["refresh_token"]
    with assert_store_unchanged(runtime):
        refused = ada.request_token("refresh_token", **{"refresh_token": token, **changes})

    check_refusal(refused, error)
    assert ada.refresh(token).status_code == 200


def test_an_unused_refresh_token_expires(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    clock.forward(seconds=30 * 86400)

    check_refusal(ada.refresh(token), "invalid_grant")


def test_each_rotation_restarts_the_lifetime(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    for _ in range(3):
        clock.forward(seconds=29 * 86400)
        response = ada.refresh(token)
        assert response.status_code == 200
        token = response.json["refresh_token"]


def test_a_refresh_token_of_a_disabled_owner_is_refused(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write_all(accounts.set_disabled(account.sub, clock()), change_feed.add("owner", account.sub))
    with assert_store_unchanged(runtime):
        check_refusal(ada.refresh(token), "invalid_grant")


def test_a_disabled_owner_is_refused_within_a_minute_without_a_feed_entry(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))
    clock.forward(61)
    check_refusal(ada.refresh(token), "invalid_grant")


def test_a_public_client_can_retry_a_refresh(ada: Browser, register: Register) -> None:
    browser_app = Browser(ada.http, register("browser"))
    token = browser_app.obtain_tokens()["refresh_token"]
    first = browser_app.refresh(token)

    assert browser_app.refresh(token).data == first.data


def test_an_access_token_is_not_accepted_as_a_refresh_token(ada: Browser) -> None:
    check_refusal(ada.refresh(ada.obtain_tokens()["access_token"]), "invalid_grant")


def test_a_stored_response_is_not_returned_after_its_successor_was_used(make_app: MakeApp, store_url: str) -> None:
    with_window, without_window = (
        make_app(store_url, refresh_retry_window=60),
        make_app(store_url, refresh_retry_window=0),
    )
    runtime: Runtime = with_window.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(with_window.test_client(), shop), runtime, EMAIL, "Ada")
    first = ada.obtain_tokens()["refresh_token"]
    second = ada.refresh(first).json["refresh_token"]
    third = (
        Browser(without_window.test_client(), shop).refresh(second).json["refresh_token"]
    )  # stores no retry response, and removes none

    check_refusal(ada.refresh(first), "invalid_grant")
    check_refusal(ada.refresh(third), "invalid_grant")


def test_a_refresh_leaves_out_a_scope_that_the_operator_has_removed_from_the_registration(
    ada: Browser, runtime: Runtime
) -> None:
    token = ada.obtain_tokens(scope=("notes:read", "profile"))["refresh_token"]
    client = clients.find(runtime.store, ada.client.client_id, runtime.clock())
    assert client
    update = check_update(runtime.settings, client, {"scope": "profile"}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=False)

    refreshed = ada.refresh(token).json
    refused = ada.refresh(refreshed["refresh_token"], scope="notes:read")

    assert refreshed["scope"] == "profile"
    assert ada.call(refreshed["access_token"]).status_code == 200
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("removed_by", ["registration", "plan", "resource"])
def test_a_refresh_is_refused_if_all_scopes_were_removed(
    make_app: MakeApp, store_url: str, clock: Clock, removed_by: str
) -> None:
    """A token without a scope would be accepted by routes that require none. Nothing is used up or revoked."""
    plans = {"free": {"scopes": "notes:write"}, "pro": {}}
    runtime: Runtime = (app := make_app(store_url, plans=plans, default_plan="pro")).extensions["valetkey"]
    shop = register_client(runtime, clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    token = ada.obtain_tokens(scope=("notes:read",))["refresh_token"]
    change = {
        "registration": lambda scope, _: set_registered_scope(runtime, shop.client_id, scope),
        "plan": lambda _, plan: subscribe(runtime, shop.client_id, plan, clock(), approved=True),
        "resource": lambda scope, _: set_scopes_of_api(runtime, scope),
    }[removed_by]

    change("notes:write", "free")
    clock.forward(seconds=1)
    refusals = [ada.refresh(token), ada.refresh(token, scope="notes:read")]
    change("notes:read", "pro")
    clock.forward(seconds=1)

    for refusal in refusals:
        check_refusal(refusal, "invalid_grant")
    assert ada.refresh(token).json["scope"] == "notes:read"


def set_registered_scope(runtime: Runtime, client_id: str, scope: str) -> None:
    client = clients.find(runtime.store, client_id, runtime.clock())
    assert client
    update = check_update(runtime.settings, client, {"scope": scope}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=True)


def set_scopes_of_api(runtime: Runtime, scope: str) -> None:
    """Do what ``valetkey resources update --scope`` does."""
    metadata = {"scopes_supported": [scope]}
    runtime.store.write_all(
        resources.upsert(runtime.settings.api_resource, metadata, runtime.clock()),
        change_feed.add("changed", "resources"),
    )


@pytest.mark.parametrize(
    ("refresh_token_lifetime", "access_token_lifetime"), [(3600, 900), (3600, 7200), (2 * 86400, 900)]
)
def test_a_grant_is_active_as_long_as_its_newest_tokens(
    make_app: MakeApp, store_url: str, clock: Clock, refresh_token_lifetime: int, access_token_lifetime: int
) -> None:
    lifetimes = {"refresh_token_lifetime": refresh_token_lifetime, "access_token_lifetime": access_token_lifetime}
    app = make_app(store_url, **lifetimes, session_lifetime=90 * 86400)
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    tokens, expiries = ada.obtain_tokens(), set()

    for _ in range(12):
        newest_expiry = clock() + max(lifetimes.values())
        [grant] = active_grants.list_active(runtime.store, newest_expiry - 1)
        expiries.add(grant.expires_at)
        clock.forward(refresh_token_lifetime / 5)
        tokens = ada.refresh(tokens["refresh_token"]).json
    assert len(expiries) <= 4  # most refreshes do not write the grant
    clock.forward(max(lifetimes.values()) + min(refresh_token_lifetime, 86400))
    assert active_grants.list_active(runtime.store, clock()) == []


def test_signing_out_ends_a_grant_that_was_refreshed_for_longer_than_it_was_issued_for(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url, refresh_token_lifetime=3600)
    runtime: Runtime = app.extensions["valetkey"]
    members = {"backchannel_logout_uri": "https://shop.example/out"}
    shop = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK], members=members
    )
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    tokens = ada.obtain_tokens(scope=("openid", "profile"))
    for _ in range(3):
        clock.forward(1800)
        tokens = ada.refresh(tokens["refresh_token"]).json
    ada.submit("/account/sign-out", {}, page_path="/account")

    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")
