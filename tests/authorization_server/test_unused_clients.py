"""Deletion of clients that registered themselves and were never used."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, registrations

DAY_S = 86400


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, registration_policy="open", unused_registration_days=30)


def _register(app: Flask, **members: Any) -> CreatedClient:
    metadata = {"client_name": "Passing by", "redirect_uris": [CALLBACK], **members}
    response = app.test_client().post("/oauth/register", json=metadata)
    assert response.status_code == 201, response.text
    return CreatedClient(response.json["client_id"], Secret(response.json["client_secret"]))


def _is_registered(runtime: Runtime, client: CreatedClient) -> bool:
    return clients.find(runtime.store, client.client_id, runtime.clock()) is not None


def test_an_unused_registration_is_deleted_after_the_configured_days(
    app: Flask, runtime: Runtime, clock: Clock
) -> None:
    client = _register(app)
    clock.forward(seconds=30 * DAY_S - 5)
    prune_unused_clients(runtime, runtime.clock())
    assert _is_registered(runtime, client)

    clock.forward(seconds=10)

    assert prune_unused_clients(runtime, runtime.clock()) >= 1
    assert not _is_registered(runtime, client)
    assert registrations.find(runtime.store, client.client_id) is None
    refused = Browser(app.test_client(), client).request_token("authorization_code", code="x")
    assert (refused.status_code, refused.json["error"]) == (401, "invalid_client")


def test_clients_with_a_consent_or_registered_by_the_operator_are_not_deleted(
    app: Flask, runtime: Runtime, ada: Browser, clock: Clock
) -> None:
    used = _register(app)
    Browser(ada.http, used).obtain_tokens()
    by_operator = register_client(
        runtime, runtime.clock(), name="The operator's", policy="web", redirect_uris=[CALLBACK]
    )

    clock.forward(seconds=31 * DAY_S)
    prune_unused_clients(runtime, runtime.clock())

    assert _is_registered(runtime, used) and _is_registered(runtime, by_operator)


def test_a_client_with_client_credentials_is_not_deleted(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    """Its tokens leave no rows that would show its use."""
    app = make_app(store_url, registration_policy="approve", unused_registration_days=30)
    runtime: Runtime = app.extensions["valetkey"]
    machine = _register(app, grant_types=["authorization_code", "client_credentials"])

    clock.forward(seconds=31 * DAY_S)
    prune_unused_clients(runtime, runtime.clock())

    assert _is_registered(runtime, machine)


def test_zero_days_disable_the_deletion(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app = make_app(store_url, registration_policy="open", unused_registration_days=0)
    client = _register(app)

    clock.forward(seconds=4000 * DAY_S)

    assert prune_unused_clients(app.extensions["valetkey"], app.extensions["valetkey"].clock()) == 0
    assert _is_registered(app.extensions["valetkey"], client)
