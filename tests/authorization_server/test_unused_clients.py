"""Clients that registered themselves and that nobody used."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conftest import MakeApp
from tests.support.browser_client import CALLBACK, Browser, Clock
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, registrations

DAY = 86400


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, registration_policy="open", unused_registration_days=30)


def _register(app: Flask, **members: Any) -> CreatedClient:
    sent = {"client_name": "Passing by", "redirect_uris": [CALLBACK], **members}
    made = app.test_client().post("/oauth/register", json=sent)
    assert made.status_code == 201, made.text
    return CreatedClient(made.json["client_id"], Secret(made.json["client_secret"]))


def _is_there(runtime: Runtime, client: CreatedClient) -> bool:
    return clients.find(runtime.store, client.client_id, runtime.clock()) is not None


def test_a_registration_that_nobody_used_is_forgotten_after_its_days(
    app: Flask, runtime: Runtime, clock: Clock
) -> None:
    client = _register(app)
    clock.forward(seconds=30 * DAY - 5)
    prune_unused_clients(runtime)
    assert _is_there(runtime, client)

    clock.forward(seconds=10)

    assert prune_unused_clients(runtime) >= 1
    assert not _is_there(runtime, client)
    assert registrations.find(runtime.store, client.client_id) is None
    refused = Browser(app.test_client(), client).request_token("authorization_code", code="x")
    assert (refused.status_code, refused.json["error"]) == (401, "invalid_client")


def test_a_client_that_somebody_allowed_or_that_the_operator_made_stays(
    app: Flask, runtime: Runtime, ada: Browser, clock: Clock
) -> None:
    used = _register(app)
    Browser(ada.http, used).obtain_tokens()
    kept = register_client(runtime, name="The operator's", policy="web", redirect_uris=[CALLBACK])

    clock.forward(seconds=31 * DAY)
    prune_unused_clients(runtime)

    assert _is_there(runtime, used) and _is_there(runtime, kept)


def test_a_client_that_may_act_for_itself_stays_for_its_tokens_leave_no_trace(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url, registration_policy="approve", unused_registration_days=30)
    runtime: Runtime = app.extensions["valetkey"]
    robot = _register(app, grant_types=["authorization_code", "client_credentials"])

    clock.forward(seconds=31 * DAY)
    prune_unused_clients(runtime)

    assert _is_there(runtime, robot)


def test_zero_days_keep_everything(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app = make_app(store_url, registration_policy="open", unused_registration_days=0)
    client = _register(app)

    clock.forward(seconds=4000 * DAY)

    assert prune_unused_clients(app.extensions["valetkey"]) == 0
    assert _is_there(app.extensions["valetkey"], client)
