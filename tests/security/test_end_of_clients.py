"""What ends with a client: its consents when it is removed, its tokens when it does not authenticate any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from tests.conformance.registration import call_configuration_endpoint, created_client
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.changing_client import (
    DOCUMENT_LIFETIME_S,
    Change,
    PublishDocument,
    needs_prompt,
    register_itself,
    with_cookies_of,
)
from tests.support.clock import Clock
from tests.support.private_key_client import JWKS, PrivateKeyClient
from valetkey.authorization_server.clients.service import (
    CreatedClient,
    end_client,
    find_or_create_client,
    register,
    register_client,
)
from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, consents, grants, refresh_tokens
from valetkey.storage.engine.transaction import Transaction


def test_a_metadata_document_that_changes_to_the_method_none_ends_its_refresh_tokens(
    ada: Browser, publish_document: PublishDocument, clock: Clock
) -> None:
    client_id = publish_document(token_endpoint_auth_method="private_key_jwt", jwks=JWKS)
    assistant = Browser(ada.http, CreatedClient(client_id, None))
    keyed = PrivateKeyClient(ada.http, client_id, clock)
    parameters = {"redirect_uri": CALLBACK, "code_verifier": "v" * 43}
    redeemed = keyed.send(
        keyed.sign(), grant_type="authorization_code", code=assistant.obtain_code(), token=None, **parameters
    )
    assert redeemed.status_code == 200, redeemed.text
    publish_document(token_endpoint_auth_method="none")
    clock.forward(DOCUMENT_LIFETIME_S)

    refused = assistant.refresh(redeemed.json["refresh_token"])
    publish_document(token_endpoint_auth_method="private_key_jwt", jwks=JWKS)
    clock.forward(DOCUMENT_LIFETIME_S)
    refused_again = keyed.send(
        keyed.sign(), grant_type="refresh_token", refresh_token=redeemed.json["refresh_token"], token=None
    )

    for response in (refused, refused_again):
        assert (response.status_code, response.json["error"]) == (400, "invalid_grant")


def test_a_registration_that_changes_to_the_method_none_ends_its_tokens(
    ada: Browser, make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url, registration_policy="open")
    ada.http = with_cookies_of(ada, app)
    information = register_itself(app, client_name="Shop", grant_types=["authorization_code", "refresh_token"])
    shop = Browser(ada.http, created_client(information))
    tokens = shop.obtain_tokens()
    document = {
        "client_id": shop.client.client_id,
        "client_name": "Shop",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }

    assert call_configuration_endpoint(ada.http, information, "PUT", json=document).status_code == 200
    clock.forward(1)

    public = Browser(ada.http, CreatedClient(shop.client.client_id, None))
    assert public.call(tokens["access_token"]).status_code == 401
    refused = public.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_grant")


def test_a_code_of_a_client_that_authenticated_is_not_redeemed_without_authentication(
    ada: Browser, change_metadata: Change, issuing_process: None
) -> None:
    code = ada.obtain_code()

    change_metadata(ada.client, token_endpoint_auth_method="none")

    refused = Browser(ada.http, CreatedClient(ada.client.client_id, None)).redeem(code)
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_grant")


def _remove_by_operator(app: Flask, information: dict[str, Any]) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    end_client(runtime.store, information["client_id"], runtime.clock())


def _remove_by_itself(app: Flask, information: dict[str, Any]) -> None:
    assert call_configuration_endpoint(app.test_client(), information, "DELETE").status_code == 204


@pytest.mark.parametrize("remove", [_remove_by_operator, _remove_by_itself])
def test_a_removed_client_leaves_no_consent_and_a_client_with_its_id_asks(
    ada: Browser, make_app: MakeApp, store_url: str, remove: Callable[[Flask, dict[str, Any]], None]
) -> None:
    app = make_app(store_url, registration_policy="open")
    runtime: Runtime = app.extensions["valetkey"]
    ada.http = with_cookies_of(ada, app)
    information = register_itself(app, client_name="Shop")
    shop = Browser(ada.http, created_client(information))
    shop.obtain_code()
    assert "Shop" in ada.get("/account").text

    remove(app, information)

    assert consents.find(runtime.store, "ada", shop.client.client_id) is None
    assert "Shop" not in ada.get("/account").text
    register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK], client_id=shop.client.client_id
    )
    assert needs_prompt(shop)


def test_a_consent_and_a_grant_stored_while_the_client_was_being_removed_do_not_serve_its_successor(
    ada: Browser, runtime: Runtime
) -> None:
    old = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK], client_id="shop"
    )
    shop = Browser(ada.http, old)
    tokens = shop.obtain_tokens()
    consent = consents.find(runtime.store, "ada", "shop")
    found = refresh_tokens.find(runtime.store, Secret(tokens["refresh_token"]).digest())
    assert consent and found
    end_client(runtime.store, "shop", runtime.clock())
    late_secret = generate_secret(REFRESH_TOKEN)
    late = (
        consents.remember(consent),
        grants.add(replace(found[1], grant_id="late")),
        refresh_tokens.add(replace(found[0], digest=late_secret.digest(), grant_id="late")),
    )
    runtime.store.write(Transaction(rows=late))

    successor = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK], client_id="shop"
    )

    shop = Browser(ada.http, successor)
    assert needs_prompt(shop)
    assert shop.refresh(late_secret.reveal()).status_code == 400


def test_a_document_client_that_the_operator_removed_asks_again(
    ada: Browser, runtime: Runtime, publish_document: PublishDocument
) -> None:
    client_id = publish_document()
    assert find_or_create_client(runtime, client_id, runtime.clock())
    assistant = Browser(ada.http, CreatedClient(client_id, None))
    assistant.obtain_code()
    assert not needs_prompt(assistant)

    end_client(runtime.store, client_id, runtime.clock())

    assert needs_prompt(assistant)


def test_pruning_an_unused_registration_leaves_no_consent(
    make_app: MakeApp, store_url: str, clock: Clock, ada: Browser
) -> None:
    app = make_app(store_url, registration_policy="open", unused_registration_days=30)
    runtime: Runtime = app.extensions["valetkey"]
    information = register_itself(app, client_name="Shop")
    clock.forward(31 * 86_400)
    assert prune_unused_clients(runtime, runtime.clock()) >= 1
    register_client(
        runtime,
        runtime.clock(),
        name="Shop",
        policy="web",
        redirect_uris=[CALLBACK],
        client_id=information["client_id"],
    )
    ada.http = with_cookies_of(ada, app)

    assert clients.find(runtime.store, information["client_id"], clock()) is not None
    assert consents.find(runtime.store, "ada", information["client_id"]) is None


def test_of_two_processes_that_register_one_id_at_once_one_gets_a_secret(runtime: Runtime) -> None:
    metadata = {"client_name": "Shop", "token_endpoint_auth_method": "client_secret_basic"}

    created = [register(runtime, "shop", "machine", metadata, runtime.clock()) for _ in range(2)]

    assert created[0] and created[0].secret
    assert created[1] is None
    client = clients.find(runtime.store, "shop", runtime.clock())
    assert client and [digest for digest, _ in client.secret_digests] == [created[0].secret.digest()]
