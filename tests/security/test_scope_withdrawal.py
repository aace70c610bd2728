"""A scope that was shown on a consent page and left unticked is withdrawn: from every device, in every process."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser, redirect_parameters, sign_in_new_account, sign_in_to_account
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from valetkey.authorization_server.authorize.consent import INDIVIDUAL_CLAIMS
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.authorization_server.token.grants import refresh_token as refresh_grant
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import active_grants, consents, personal_access_tokens, resources, tables
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import Transaction

BOTH = ("notes:read", "profile")
POLL_S = 1  # within a second every process refuses what was revoked
prune_change_feed = Statement(delete(tables.revocations))  # as if its entries had expired


@pytest.fixture
def phone(ada: Browser) -> Browser:
    """Ada's browser on the phone."""
    return ada


@pytest.fixture
def laptop(phone: Browser, app: Flask, runtime: Runtime) -> Browser:
    """Ada's browser on the laptop, with the same app."""
    return sign_in_to_account(Browser(app.test_client(), phone.client), runtime, "ada")


def allow(browser: Browser, requested: tuple[str, ...], ticked: tuple[str, ...], **parameters: str) -> dict[str, Any]:
    """Open the consent page for a scope, leave only some scopes ticked, and return the token response."""
    page = browser.authorize(scope=" ".join(requested), prompt="consent", **parameters)
    code = redirect_parameters(browser.approve(page.location, ticked))["code"]
    response = browser.redeem(code)
    assert response.status_code == 200, response.text
    return dict(response.json)


def shown_scopes(browser: Browser) -> list[str]:
    """Return what the account page says that the connected apps may do."""
    page = browser.get("/account").text
    return re.findall(r"<li>([^<]+)</li>", page)


def test_an_unticked_scope_is_withdrawn_from_the_tokens_of_the_other_device(
    phone: Browser, laptop: Browser, clock: Clock
) -> None:
    on_phone = phone.obtain_tokens(scope=BOTH)
    assert phone.call(on_phone["access_token"]).status_code == 200

    on_laptop = allow(laptop, BOTH, ("notes:read",))
    clock.forward(POLL_S)

    assert phone.call(on_phone["access_token"]).status_code == 401
    refreshed = phone.refresh(on_phone["refresh_token"])
    assert (refreshed.status_code, refreshed.json["scope"]) == (200, "notes:read")
    assert phone.call(refreshed.json["access_token"]).status_code == 403
    assert phone.introspect(refreshed.json["access_token"]).json["active"] is True
    assert laptop.refresh(on_laptop["refresh_token"]).json["scope"] == "notes:read"
    assert phone.refresh(refreshed.json["refresh_token"]).json["scope"] == "notes:read"


def test_a_grant_that_loses_its_last_scope_gives_no_more_tokens(phone: Browser, laptop: Browser, clock: Clock) -> None:
    """A token without a scope would still be accepted by routes that require none."""
    on_phone = phone.obtain_tokens(scope=("notes:read",))

    allow(laptop, BOTH, ("profile",))
    clock.forward(POLL_S)

    assert phone.call(on_phone["access_token"]).status_code == 401
    check_refusal(phone.refresh(on_phone["refresh_token"]), "invalid_grant")


def test_an_unticked_scope_is_withdrawn_in_every_process(
    phone: Browser, laptop: Browser, make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    """The other process has the grant, the refresh token and the access token in its caches."""
    other_process = Browser(make_app(store_url).test_client(), phone.client)
    for cookie in ("valetkey_browser", "valetkey_session"):
        other_process.http.set_cookie(cookie, phone.http.get_cookie(cookie).value)
    tokens = other_process.obtain_tokens(scope=BOTH)
    assert other_process.call(tokens["access_token"]).status_code == 200
    unredeemed_code = other_process.obtain_code(scope=BOTH)

    allow(laptop, BOTH, ("notes:read",))
    clock.forward(POLL_S)

    assert other_process.call(tokens["access_token"]).status_code == 401
    assert other_process.refresh(tokens["refresh_token"]).json["scope"] == "notes:read"
    assert other_process.redeem(unredeemed_code).json["scope"] == "notes:read"


def test_a_cached_refresh_token_does_not_bring_a_scope_back_after_the_change_feed_was_pruned(
    phone: Browser, laptop: Browser, runtime: Runtime
) -> None:
    """Without the condition on the grant's scope, the process goes on with the scope that it has in its cache."""
    tokens = phone.obtain_tokens(scope=BOTH)
    cached = dict(runtime.recent_refresh_tokens._entries)
    assert cached
    allow(laptop, BOTH, ("notes:read",))

    runtime.recent_refresh_tokens._entries.update(cached)

    assert phone.refresh(tokens["refresh_token"]).json["scope"] == "notes:read"


def test_a_refresh_that_races_with_the_withdrawal_issues_no_withdrawn_scope(
    phone: Browser, laptop: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scope is withdrawn after the refresh has read the grant, and before it writes."""
    tokens = phone.obtain_tokens(scope=BOTH)
    phone.refresh(tokens["refresh_token"])  # its successor is in the cache
    successor = phone.refresh(tokens["refresh_token"]).json["refresh_token"]
    resolve = refresh_grant.resolve_grant
    withdrawals = []

    def resolve_after_withdrawal(*arguments: Any, **options: Any) -> Any:
        if not withdrawals:
            withdrawals.append(allow(laptop, BOTH, ("notes:read",)))
        return resolve(*arguments, **options)

    monkeypatch.setattr(refresh_grant, "resolve_grant", resolve_after_withdrawal)
    refreshed = phone.refresh(successor)

    assert withdrawals
    assert (refreshed.status_code, refreshed.json["scope"]) == (200, "notes:read")
    assert phone.refresh(refreshed.json["refresh_token"]).status_code == 200, "the grant is not revoked"


def test_an_unredeemed_code_loses_a_withdrawn_scope(phone: Browser, laptop: Browser, issuing_process: None) -> None:
    code = phone.obtain_code(scope=BOTH)

    allow(laptop, BOTH, ("profile",))

    redeemed = phone.redeem(code)
    assert (redeemed.status_code, redeemed.json["scope"]) == (200, "profile")


def test_a_scope_that_was_not_requested_is_not_withdrawn(phone: Browser, laptop: Browser, clock: Clock) -> None:
    on_phone = phone.obtain_tokens(scope=BOTH)

    allow(laptop, ("notes:read", "notes:write"), ("notes:read",))
    clock.forward(POLL_S)

    assert phone.call(on_phone["access_token"]).status_code == 200
    assert phone.refresh(on_phone["refresh_token"]).json["scope"] == "notes:read profile"


def test_deny_withdraws_nothing(phone: Browser, laptop: Browser, clock: Clock) -> None:
    on_phone = phone.obtain_tokens(scope=BOTH)

    laptop.deny(laptop.authorize(scope=" ".join(BOTH), prompt="consent").location)
    clock.forward(POLL_S)

    assert phone.call(on_phone["access_token"]).status_code == 200
    assert phone.refresh(on_phone["refresh_token"]).json["scope"] == "notes:read profile"


def test_only_the_grants_of_this_app_and_this_person_lose_the_scope(
    phone: Browser, laptop: Browser, app: Flask, runtime: Runtime, register: Register, clock: Clock
) -> None:
    other_app = Browser(phone.http, register(name="Other"))
    other_person = sign_in_new_account(Browser(app.test_client(), phone.client), runtime, "eve@example.org", "Eve")
    others = [browser.obtain_tokens(scope=BOTH) for browser in (other_app, other_person)]

    allow(laptop, BOTH, ("notes:read",))
    clock.forward(POLL_S)

    for browser, tokens in zip((other_app, other_person), others, strict=True):
        assert browser.call(tokens["access_token"]).status_code == 200
        assert browser.refresh(tokens["refresh_token"]).json["scope"] == "notes:read profile"


def test_a_withdrawn_scope_can_be_granted_again_but_the_old_grant_does_not_get_it_back(
    phone: Browser, laptop: Browser, clock: Clock
) -> None:
    on_phone = phone.obtain_tokens(scope=BOTH)
    allow(laptop, BOTH, ("notes:read",))

    again = laptop.obtain_tokens(scope=BOTH)
    clock.forward(POLL_S)

    assert laptop.call(again["access_token"]).status_code == 200
    assert phone.call(on_phone["access_token"]).status_code == 401
    assert phone.refresh(on_phone["refresh_token"]).json["scope"] == "notes:read"


def test_names_that_contain_one_another_are_different_scopes(
    make_app: MakeApp, store_url: str, register: Register, phone: Browser
) -> None:
    scopes = {"a": "a", "a:b": "a:b", "b": "b", "%": "percent", "_": "underscore"}
    app = make_app(store_url, scopes=scopes)
    browser = sign_in_to_account(Browser(app.test_client(), phone.client), app.extensions["valetkey"], "ada")
    tokens = browser.obtain_tokens(scope=tuple(scopes))

    allow(browser, tuple(scopes), ("a:b", "b", "_"))

    assert browser.refresh(tokens["refresh_token"]).json["scope"] == "_ a:b b"


def test_the_account_page_shows_what_all_grants_together_allow(phone: Browser, laptop: Browser) -> None:
    phone.obtain_tokens(scope=("notes:read",))
    laptop.obtain_tokens(scope=("notes:read", "notes:write"))
    phone.obtain_tokens(scope=("profile",))
    assert shown_scopes(phone) == ["Read your notes", "Write notes", "See your name and picture"]

    allow(phone, ("notes:write", "profile"), ("profile",))

    assert shown_scopes(phone) == ["Read your notes", "See your name and picture"]


def test_the_account_page_lists_an_app_whose_grant_lives_without_a_remembered_consent(
    phone: Browser, runtime: Runtime
) -> None:
    phone.obtain_tokens(scope=("notes:read",))
    runtime.store.write(Transaction(rows=(consents.remove("ada", phone.client.client_id),)))

    assert shown_scopes(phone) == ["Read your notes"]


def test_approving_a_device_withdraws_an_unticked_scope_too(phone: Browser, register: Register, clock: Clock) -> None:
    app_on_both = register(
        "web", name="Player", grant_types=["authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE]
    )
    on_phone, television = Browser(phone.http, app_on_both), Browser(phone.http, app_on_both)
    tokens = on_phone.obtain_tokens(scope=BOTH)
    user_code = television.post("/oauth/device", scope=" ".join(BOTH)).json["user_code"]

    page = phone.submit("/device", {"user_code": user_code})
    assert phone.submit(page.location, {"decision": "allow", "scope": ["notes:read"]}).status_code == 200
    clock.forward(POLL_S)

    assert on_phone.call(tokens["access_token"]).status_code == 401
    assert on_phone.refresh(tokens["refresh_token"]).json["scope"] == "notes:read"


def test_opaque_tokens_with_a_withdrawn_scope_are_inactive(
    phone: Browser, laptop: Browser, runtime: Runtime, clock: Clock
) -> None:
    api = runtime.settings.api_resource
    runtime.store.write(Transaction(rows=(resources.upsert(api, {"token_format": "opaque"}, clock()),)))
    runtime.resources.invalidate()
    tokens = phone.obtain_tokens(scope=BOTH)
    assert tokens["access_token"].startswith("vk_at_")
    assert phone.introspect(tokens["access_token"]).json["active"] is True

    allow(laptop, BOTH, ("notes:read",))
    clock.forward(POLL_S)

    assert phone.introspect(tokens["access_token"]).json == {"active": False}
    assert phone.call(tokens["access_token"]).status_code == 401


def test_a_personal_token_that_the_app_created_ends_with_its_withdrawn_scope(
    phone: Browser, laptop: Browser, runtime: Runtime, clock: Clock, make_app: MakeApp, store_url: str
) -> None:
    phone.obtain_tokens(scope=BOTH)
    [grant] = active_grants.list_active(runtime.store, clock(), owner="ada")
    spec = TokenSpec("Backup", frozenset({"profile"}), clock() + 30 * 86_400, grant_id=grant.grant_id)
    value = create_personal_token(spec, Owner("ada"), runtime, clock(), None).secret.reveal()
    assert phone.call(value).status_code == 200

    allow(laptop, BOTH, ("notes:read",))
    clock.forward(POLL_S)
    assert phone.call(value).status_code == 401
    [token] = personal_access_tokens.list_by_owner(runtime.store, "ada")
    assert token.revoked_at is not None, "the page of personal tokens shows it as revoked"
    runtime.store.write(Transaction(rows=(prune_change_feed(),)))
    other_process = Browser(make_app(store_url).test_client(), phone.client)

    assert other_process.call(value).status_code == 401


def test_a_personal_token_that_the_app_creates_at_the_moment_of_the_withdrawal_does_not_have_the_scope(
    phone: Browser, laptop: Browser, runtime: Runtime, clock: Clock, make_app: MakeApp, store_url: str
) -> None:
    phone.obtain_tokens(scope=BOTH)
    [grant] = active_grants.list_active(runtime.store, clock(), owner="ada")
    allow(laptop, BOTH, ("notes:read",))
    spec = TokenSpec("Backup", frozenset({"profile"}), clock() + 30 * 86_400, grant_id=grant.grant_id)

    value = create_personal_token(spec, Owner("ada"), runtime, clock(), None).secret.reveal()

    assert phone.call(value).status_code == 401
    runtime.store.write(Transaction(rows=(prune_change_feed(),)))
    other_process = Browser(make_app(store_url).test_client(), phone.client)
    assert other_process.call(value).status_code == 401


def test_userinfo_no_longer_returns_the_claims_of_a_withdrawn_scope(
    phone: Browser, laptop: Browser, runtime: Runtime, clock: Clock
) -> None:
    """The claims were requested individually too, so that the grant has them apart from its scope."""
    claims = '{"userinfo":{"email":null,"phone_number":null},"id_token":{"email":null}}'
    scope = ("email", "openid", "profile")
    tokens = allow(phone, scope, (*scope, INDIVIDUAL_CLAIMS), claims=claims)
    assert "email" in userinfo(phone, tokens)

    allow(laptop, ("email", "openid"), ("openid",))
    clock.forward(POLL_S)

    refreshed = phone.refresh(tokens["refresh_token"]).json
    assert "email" not in refreshed["scope"]
    assert "email" not in userinfo(phone, refreshed)


def test_an_unticked_individual_claim_is_not_granted_by_another_checkbox(phone: Browser) -> None:
    """The checkbox for individually requested claims is not about claims that an unticked scope includes."""
    claims = '{"userinfo":{"email":null,"name":null}}'

    tokens = allow(phone, ("email", "openid"), ("openid", INDIVIDUAL_CLAIMS), claims=claims)

    assert "email" not in userinfo(phone, tokens)


def test_individual_claims_that_are_left_unticked_are_withdrawn(phone: Browser, laptop: Browser, clock: Clock) -> None:
    claims = '{"userinfo":{"email":null}}'
    tokens = allow(phone, ("openid",), ("openid", INDIVIDUAL_CLAIMS), claims=claims)
    assert "email" in userinfo(phone, tokens)
    assert "See your email" in shown_scopes(phone)

    allow(laptop, ("openid",), ("openid",), claims=claims)
    clock.forward(POLL_S)

    assert "email" not in userinfo(phone, tokens)
    assert "See your email" not in shown_scopes(phone)


def test_an_unticked_individual_claim_withdraws_a_scope_that_has_it(
    phone: Browser, laptop: Browser, clock: Clock
) -> None:
    """The page says that the app loses this permission on all devices, and not that an earlier scope includes it."""
    tokens = allow(phone, ("email", "openid"), ("email", "openid"))
    assert "email" in userinfo(phone, tokens)

    allow(laptop, ("openid",), ("openid",), claims='{"userinfo":{"email":null}}')
    clock.forward(POLL_S)

    refreshed = phone.refresh(tokens["refresh_token"]).json
    assert refreshed["scope"] == "openid"
    assert "email" not in userinfo(phone, refreshed)


def test_a_ticked_individual_claim_withdraws_no_scope(phone: Browser, laptop: Browser, clock: Clock) -> None:
    tokens = allow(phone, ("email", "openid", "profile"), ("email", "openid", "profile"))

    allow(laptop, ("openid",), ("openid", INDIVIDUAL_CLAIMS), claims='{"userinfo":{"email":null}}')
    clock.forward(POLL_S)

    assert phone.refresh(tokens["refresh_token"]).json["scope"] == "email openid profile"


def userinfo(browser: Browser, tokens: dict[str, Any]) -> dict[str, Any]:
    response = browser.call(tokens["access_token"], "/oauth/userinfo")
    assert response.status_code == 200, response.text
    return dict(response.json)
