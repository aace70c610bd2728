"""Consent is to the permissions that were shown: scopes with their descriptions and claims, for the APIs named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.relying_party import register_resource
from tests.support.app import SCOPES, MakeApp, Register
from tests.support.browser_client import (
    CALLBACK,
    EMAIL,
    ISSUER,
    Browser,
    hidden_fields,
    redirect_parameters,
    sign_in_new_account,
)
from tests.support.changing_client import needs_prompt, with_cookies_of
from tests.support.form import parse_forms
from valetkey.authorization_server.authorize.consent import INDIVIDUAL_CLAIMS
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.resource_owner.texts import PERMISSIONS_CHANGED
from valetkey.runtime import Runtime
from valetkey.storage import clients, consents
from valetkey.storage.consents import Consent
from valetkey.storage.engine.transaction import Transaction

PHOTOS = "https://photos.example"


@pytest.fixture
def photos(runtime: Runtime) -> str:
    """The URL of another API of the server."""
    register_resource(runtime, PHOTOS, resource_name="Photos API")
    return PHOTOS


def remembered_consent(runtime: Runtime, client_id: str) -> Consent:
    consent = consents.find(runtime.store, "ada", client_id)
    assert consent
    return consent


def ticked_scopes(page: str) -> set[str]:
    """Return the values of the ticked boxes of a consent page, without those that cannot be unticked."""
    form = next(form for form in parse_forms(page) if "allow" in form.buttons)
    return {value for _, value in form.checked}


def approve_device(browser: Browser, scope: str = "profile", **parameters: str) -> str:
    """Allow a device's request, and return the text of its consent page."""
    request = {"client_id": browser.client.client_id, "scope": scope, **parameters}
    secret = browser.client.secret
    code = browser.http.post(
        "/oauth/device", data=request | ({"client_secret": secret.reveal()} if secret else {})
    ).json["user_code"]
    page_path = browser.submit("/device", {"user_code": code}).location
    text = browser.get(page_path).text
    assert browser.submit(page_path, {"decision": "allow", "scope": scope.split()}).status_code == 200
    return text


def test_consent_to_one_api_is_none_to_another(ada: Browser, photos: str) -> None:
    ada.obtain_code()
    assert not needs_prompt(ada)

    assert needs_prompt(ada, resource=photos)
    assert "Photos API" in ada.get(ada.authorize(resource=photos).location).text
    ada.obtain_code(resource=photos)

    assert not needs_prompt(ada, resource=photos)
    assert not needs_prompt(ada), "the consent to the first API stays"


def test_consent_covers_a_scope_only_for_the_api_that_it_was_shown_for(ada: Browser, photos: str) -> None:
    ada.obtain_code(scope=("notes:read",))
    ada.obtain_code(scope=("profile",), resource=photos)

    assert needs_prompt(ada, scope="notes:read", resource=photos)
    assert needs_prompt(ada, scope="notes:read profile")
    assert not needs_prompt(ada, scope="notes:read")


def test_the_consent_page_of_the_default_api_names_no_api(ada: Browser, photos: str) -> None:
    page = ada.get(ada.authorize(scope="openid").location).text

    assert "The app gets access to" not in page


def test_the_consent_page_of_a_device_names_the_api(ada: Browser, register: Register, photos: str) -> None:
    television = Browser(ada.http, register(grant_types=[DEVICE_CODE_GRANT_TYPE], redirect_uris=[]))

    assert "Photos API" in approve_device(television, resource=photos)
    assert "Photos API" not in approve_device(television)


def test_a_scope_that_is_left_unticked_for_one_api_is_withdrawn_for_all_and_the_page_says_so(
    ada: Browser, photos: str
) -> None:
    tokens = ada.obtain_tokens(scope=("notes:read", "profile"))
    page_path = ada.authorize(scope="notes:read profile", resource=photos).location

    assert "loses this permission on all your devices" in ada.get(page_path).text
    ada.approve(page_path, scope=("profile",))

    assert needs_prompt(ada, scope="notes:read")
    assert not needs_prompt(ada, scope="profile")
    assert ada.refresh(tokens["refresh_token"]).json["scope"] == "profile"


@pytest.mark.parametrize(
    "changed_settings",
    [
        {"scopes": {**SCOPES, "notes:read": "Read and publish your notes"}},
        {"scope_claims": {"notes:read": ["groups"]}},
    ],
    ids=["description", "claims"],
)
def test_a_scope_that_means_more_than_when_it_was_allowed_asks_again(
    ada: Browser, make_app: MakeApp, store_url: str, changed_settings: dict[str, Any]
) -> None:
    tokens = ada.obtain_tokens(scope=("notes:read", "profile"))
    changed = Browser(with_cookies_of(ada, make_app(store_url, **changed_settings)), ada.client)

    assert needs_prompt(changed, scope="notes:read profile")
    assert not needs_prompt(changed, scope="profile"), "this scope means what it meant"
    assert changed.refresh(tokens["refresh_token"]).status_code == 200
    changed.obtain_code(scope=("notes:read",))

    assert not needs_prompt(changed, scope="notes:read profile")


def test_a_request_without_a_scope_needs_a_consent_for_its_apis(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, scopes={})
    runtime: Runtime = app.extensions["valetkey"]
    register_resource(runtime, PHOTOS, resource_name="Photos API")
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(app.test_client(), client), runtime, EMAIL, "Ada")
    ada.obtain_code(scope=())
    assert not needs_prompt(ada, scope=None)

    assert needs_prompt(ada, scope=None, resource=PHOTOS)
    ada.obtain_code(scope=(), resource=PHOTOS)

    assert not needs_prompt(ada, scope=None, resource=PHOTOS)
    assert not needs_prompt(ada, scope=None), "the consent to the first API stays"
    assert needs_prompt(ada, scope="openid")


def test_a_form_with_descriptions_that_have_changed_since_is_shown_again(
    ada: Browser, make_app: MakeApp, store_url: str
) -> None:
    changed_app = make_app(store_url, scopes={**SCOPES, "notes:read": "Read and delete your notes"})
    page_path = ada.authorize(scope="notes:read").location
    form = {**hidden_fields(ada.get(page_path).text), "decision": "allow", "scope": "notes:read"}
    changed = Browser(with_cookies_of(ada, changed_app), ada.client)

    asked_again = changed.http.post(page_path, data=form)

    assert asked_again.status_code == 400
    assert PERMISSIONS_CHANGED in asked_again.text
    assert "Read and delete your notes" in asked_again.text
    assert needs_prompt(changed, scope="notes:read")
    assert "code" in redirect_parameters(changed.http.post(page_path, data=form | hidden_fields(asked_again.text)))


@pytest.mark.parametrize("change", [{"shown": "other texts"}, {"decision": ""}, {"csrf_token": "of an ended session"}])
def test_a_form_that_is_shown_again_keeps_what_the_user_has_unticked(ada: Browser, change: dict[str, str]) -> None:
    page_path = ada.authorize(scope="notes:read notes:write openid").location
    first = ada.get(page_path).text
    form = {**hidden_fields(first), "decision": "allow", "scope": ["openid", "notes:read"]}

    asked_again = ada.http.post(page_path, data=form | change)

    assert asked_again.status_code == 400
    assert ticked_scopes(first) == {"notes:read", "notes:write"}
    assert ticked_scopes(asked_again.text) == {"notes:read"}


def test_a_form_without_any_tick_is_shown_again_without_any(ada: Browser) -> None:
    page_path = ada.authorize(scope="notes:read notes:write").location
    form = hidden_fields(ada.get(page_path).text) | {"decision": "allow"}

    asked_again = ada.http.post(page_path, data=form)

    assert asked_again.status_code == 400
    assert ticked_scopes(asked_again.text) == set()


@pytest.mark.parametrize("is_ticked", [True, False])
def test_a_scope_named_claims_is_not_the_checkbox_for_individual_claims(
    make_app: MakeApp, store_url: str, is_ticked: bool
) -> None:
    app = make_app(store_url, scopes={**SCOPES, "claims": "Read your insurance claims"})
    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    ada = sign_in_new_account(Browser(app.test_client(), client), runtime, EMAIL, "Ada")
    ticked = ("openid", "claims") if is_ticked else ("openid", INDIVIDUAL_CLAIMS)

    page_path = ada.authorize(scope="claims openid", claims='{"userinfo":{"email":null}}').location
    tokens = ada.redeem(redirect_parameters(ada.decide(page_path, "allow", ticked))["code"]).json

    assert ("claims" in tokens["scope"].split()) is is_ticked
    assert ("email" in ada.call(tokens["access_token"], "/oauth/userinfo").json) is not is_ticked


def test_the_form_for_a_device_is_shown_again_if_descriptions_have_changed(
    ada: Browser, make_app: MakeApp, store_url: str, register: Register
) -> None:
    changed_app = make_app(store_url, scopes={**SCOPES, "notes:read": "Read and delete your notes"})
    television = register(grant_types=[DEVICE_CODE_GRANT_TYPE], redirect_uris=[])
    assert television.secret
    request = {"client_id": television.client_id, "client_secret": television.secret.reveal(), "scope": "notes:read"}
    code = ada.http.post("/oauth/device", data=request).json["user_code"]
    page_path = ada.submit("/device", {"user_code": code}).location
    form = {**hidden_fields(ada.get(page_path).text), "decision": "allow", "scope": "notes:read"}
    http = with_cookies_of(ada, changed_app)

    asked_again = http.post(page_path, data=form)

    assert (asked_again.status_code, PERMISSIONS_CHANGED in asked_again.text) == (400, True)
    assert http.post(page_path, data=form | hidden_fields(asked_again.text)).status_code == 200


def test_a_consent_of_an_earlier_version_is_one_to_the_default_api(ada: Browser, runtime: Runtime, photos: str) -> None:
    """It does not say what was shown. The decision about another API keeps it."""
    ada.obtain_code(scope=("notes:read", "openid"))
    consent = remembered_consent(runtime, ada.client.client_id)
    identity = {name: value for name, value in json.loads(consent.identity or "").items() if name != "scopes"}
    earlier = replace(consent, identity=json.dumps(identity))
    runtime.store.write(Transaction(rows=(consents.remember(earlier),)))

    assert not needs_prompt(ada, scope="notes:read openid")
    assert needs_prompt(ada, scope="notes:read", resource=photos)
    ada.obtain_code(scope=("profile",), resource=photos)
    assert not needs_prompt(ada, scope="notes:read openid")


def test_consent_for_a_device_is_none_to_a_redirect(ada: Browser, register: Register) -> None:
    """The page for a device does not say where the app can redirect the user."""
    shop = Browser(ada.http, register(grant_types=["authorization_code", DEVICE_CODE_GRANT_TYPE, "refresh_token"]))
    approve_device(shop)

    assert needs_prompt(shop)
    assert "It can now redirect you to https://shop.example." in shop.get(shop.authorize().location).text
    shop.approve(shop.authorize().location)
    assert not needs_prompt(shop)
    assert "has changed" not in approve_device(shop)
    assert not needs_prompt(shop), "the page for a device takes nothing back"


def test_a_client_that_the_operator_renames_keeps_what_was_shown(ada: Browser, runtime: Runtime, photos: str) -> None:
    """``valetkey clients update --keep-consents``."""
    ada.obtain_code(resource=photos)
    client = clients.find(runtime.store, ada.client.client_id, runtime.clock())
    assert client
    update = check_update(runtime.settings, client, {"client_name": "Store"}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=True)

    assert not needs_prompt(ada, resource=photos)
    assert needs_prompt(ada)


def test_a_decision_at_the_same_time_does_not_bring_back_what_the_other_took_away(
    ada: Browser, runtime: Runtime, photos: str
) -> None:
    """The identity was read before the other decision was stored: only what was shown now is remembered."""
    ada.obtain_code(resource=photos)
    as_read = remembered_consent(runtime, ada.client.client_id)
    ada.obtain_code(resource=ISSUER, scope=("notes:read",))
    own = replace(as_read, identity='{"name":"own"}')

    runtime.store.write(Transaction(rows=(consents.remember(own, as_read, '{"name":"extended"}'),)))
    assert remembered_consent(runtime, ada.client.client_id).identity == own.identity
    runtime.store.write(Transaction(rows=(consents.remember(own, own, '{"name":"extended"}'),)))
    assert remembered_consent(runtime, ada.client.client_id).identity == '{"name":"extended"}'
