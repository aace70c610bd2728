"""Consent is to the client that was shown: a client that has changed asks again, in every way it can change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.registration import call_configuration_endpoint, created_client
from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters
from tests.support.changing_client import (
    DOCUMENT_LIFETIME_S,
    Change,
    PublishDocument,
    needs_prompt,
    register_itself,
    with_cookies_of,
)
from tests.support.clock import Clock
from tests.support.private_key_client import JWKS
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.authorize import decision
from valetkey.authorization_server.clients.service import (
    CreatedClient,
)
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.runtime import Runtime
from valetkey.storage import consents
from valetkey.storage.consents import Consent
from valetkey.storage.engine.transaction import Transaction

OTHER_HOST = "https://other.example/back"
CHANGES_THAT_ASK: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"client_name": "Sh0p"}, "Its name was Shop."),
    "redirect host": ({"redirect_uris": [CALLBACK, OTHER_HOST]}, "It can now redirect you to https://other.example."),
    "redirect scheme": (
        {"redirect_uris": [CALLBACK, "com.example.shop:/back"]},
        "It can now redirect you to com.example.shop:.",
    ),
    "policy": ({"policy": "oidc-compat"}, "It is now another kind of app."),
    "authentication method": ({"token_endpoint_auth_method": "none"}, "It now authenticates in a weaker way."),
}


@pytest.mark.parametrize("case", CHANGES_THAT_ASK)
def test_a_client_whose_identity_changed_asks_again_and_says_what_changed(
    ada: Browser, change_metadata: Change, case: str
) -> None:
    change, sentence = CHANGES_THAT_ASK[case]
    ada.obtain_tokens()
    ada.obtain_tokens()  # without a prompt: the session and the consent are cached
    assert not needs_prompt(ada)

    change_metadata(ada.client, **change)

    assert needs_prompt(ada)
    page = ada.get(ada.authorize().location)
    assert sentence in page.text
    assert 'type="checkbox" name="scope" value="profile"' in page.text, "what was allowed before can be unticked"
    ada.approve(ada.authorize().location)
    assert not needs_prompt(ada), "the new consent is to the new identity"


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uris": [CALLBACK]},
        {"redirect_uris": [CALLBACK, OTHER_HOST, "https://shop.example/another-path"]},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS},
        {"contacts": ["eve@shop.example"], "logo_uri": "https://shop.example/logo.png"},
        {"jwks_uri": "https://shop.example/keys"},
    ],
    ids=["removed URI", "another path", "stronger method", "contacts and logo", "keys"],
)
def test_other_changes_of_a_client_do_not_ask_again(
    ada: Browser, register: Register, change_metadata: Change, change: dict[str, Any]
) -> None:
    app = Browser(ada.http, register(redirect_uris=[CALLBACK, OTHER_HOST]))
    app.obtain_code()

    change_metadata(app.client, **change)

    assert not needs_prompt(app)


def test_scopes_that_were_allowed_to_another_identity_are_not_remembered(ada: Browser, change_metadata: Change) -> None:
    """The page after the change shows one scope; the other was allowed to the client as it was."""
    tokens = ada.obtain_tokens(scope=("notes:write", "profile"))
    change_metadata(ada.client, client_name="Bank")
    ada.approve(ada.authorize(scope="profile").location)

    assert not needs_prompt(ada, scope="profile")
    assert needs_prompt(ada, scope="notes:write")
    assert ada.refresh(tokens["refresh_token"]).json["scope"] == "notes:write profile", "nothing was withdrawn"


def test_a_consent_to_an_unknown_identity_is_requested_with_all_scopes(ada: Browser, runtime: Runtime) -> None:
    """Clients with a metadata document have such consents after an upgrade."""
    ada.obtain_code(scope=("notes:read",))
    consent = consents.find(runtime.store, "ada", ada.client.client_id)
    assert consent
    runtime.store.write(Transaction(rows=(consents.remember(replace(consent, identity=None)),)))

    page = ada.get(ada.authorize(scope="notes:read profile").location).text

    assert 'id="scope-notes:read"' in page and 'id="scope-profile"' in page
    assert needs_prompt(ada, scope="notes:read")
    ada.obtain_code(scope=("profile",))
    assert needs_prompt(ada, scope="notes:read")
    assert not needs_prompt(ada, scope="profile")


def test_a_change_made_while_the_consent_page_is_open_is_not_consented_to(
    ada: Browser, runtime: Runtime, change_metadata: Change
) -> None:
    consent_url = ada.authorize().location
    assert "Shop" in ada.get(consent_url).text
    change_metadata(ada.client, client_name="Bank")

    with assert_store_unchanged(runtime):
        decided = ada.submit(consent_url, {"decision": "allow", "scope": ["profile"]}, page_path="/account")
        page = ada.get(consent_url)

    for response in (decided, page):
        assert response.status_code == 400
        assert "The registration of this app has changed" in response.text


def test_prompt_none_gets_an_error_and_no_page_if_the_consent_changes_during_the_request(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.obtain_code()
    find = decision.find_consent

    def find_and_remove(*arguments: Any) -> Consent | None:
        consent = find(*arguments)
        runtime.store.write(Transaction(rows=(consents.remove("ada", ada.client.client_id),)))
        return consent

    monkeypatch.setattr(decision, "find_consent", find_and_remove)

    assert redirect_parameters(ada.authorize(prompt="none"))["error"] == "consent_required"


def test_a_change_made_while_the_device_page_is_open_is_not_consented_to(
    ada: Browser, runtime: Runtime, register: Register, change_metadata: Change
) -> None:
    television = Browser(ada.http, register(grant_types=["authorization_code", DEVICE_CODE_GRANT_TYPE]))
    user_code = television.post("/oauth/device", scope="profile").json["user_code"]
    consent_url = ada.submit("/device", {"user_code": user_code}).location
    change_metadata(television.client, client_name="Bank")

    with assert_store_unchanged(runtime):
        decided = ada.submit(consent_url, {"decision": "allow", "scope": ["profile"]}, page_path="/account")

    assert decided.status_code == 400
    assert "The registration of this app has changed" in decided.text


def test_the_device_page_says_what_changed(ada: Browser, register: Register, change_metadata: Change) -> None:
    television = Browser(ada.http, register(grant_types=["authorization_code", DEVICE_CODE_GRANT_TYPE]))
    television.obtain_code()
    change_metadata(television.client, client_name="Bank")
    user_code = television.post("/oauth/device", scope="profile").json["user_code"]

    page = ada.get(ada.submit("/device", {"user_code": user_code}).location)

    assert "Its name was Shop." in page.text


def test_the_registration_management_endpoint_asks_again_for_a_new_name_and_not_for_new_contacts(
    ada: Browser, make_app: MakeApp, store_url: str
) -> None:
    app = make_app(store_url, registration_policy="open")
    ada.http = with_cookies_of(ada, app)
    information = register_itself(app, client_name="Shop", grant_types=["authorization_code", "refresh_token"])
    shop = Browser(ada.http, created_client(information))
    shop.obtain_code()
    document = {"client_id": shop.client.client_id, "client_name": "Shop", "redirect_uris": [CALLBACK]}

    updated = call_configuration_endpoint(ada.http, information, "PUT", json={**document, "contacts": ["e@x.example"]})
    assert updated.status_code == 200
    assert not needs_prompt(shop)
    renamed = call_configuration_endpoint(ada.http, updated.json, "PUT", json={**document, "client_name": "Bank"})
    assert renamed.status_code == 200

    assert needs_prompt(shop)


def test_an_unchanged_metadata_document_does_not_ask_again_and_a_changed_one_does(
    ada: Browser, publish_document: PublishDocument, clock: Clock
) -> None:
    assistant = Browser(ada.http, CreatedClient(publish_document(), None))
    assistant.obtain_code()
    clock.forward(DOCUMENT_LIFETIME_S)  # it is fetched again
    assert not needs_prompt(assistant)
    publish_document(contacts=["new@assistant.example"], logo_uri="https://assistant.example/new.png")
    clock.forward(DOCUMENT_LIFETIME_S)
    assert not needs_prompt(assistant)

    publish_document(redirect_uris=[CALLBACK, OTHER_HOST])
    clock.forward(DOCUMENT_LIFETIME_S)

    assert needs_prompt(assistant)
