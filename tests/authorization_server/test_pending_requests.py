"""Limits on pending authorization requests, which anyone can begin."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, update

from tests.support.app import MakeApp
from tests.support.browser_client import Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.store_assertions import count_rows
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.runtime import Runtime
from valetkey.storage import tables
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, interaction_limit="3/600s burst 3")


def count_interactions(store: Store) -> int:
    return count_rows(store, "valetkey_interactions")


def test_requests_without_a_sign_in_are_limited_by_network(app: Flask, runtime: Runtime, shop: CreatedClient) -> None:
    for _ in range(3):
        assert Browser(app.test_client(), shop).authorize().status_code == 303

    refused = Browser(app.test_client(), shop).authorize()

    assert refused.status_code == 429
    assert 190 <= int(refused.headers["Retry-After"]) <= 200
    assert "Location" not in refused.headers
    assert count_interactions(runtime.store) == 3


def test_a_signed_in_owner_has_a_budget_apart_from_the_network(
    app: Flask, runtime: Runtime, shop: CreatedClient
) -> None:
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, "ada@example.org", "Ada")
    for _ in range(5):
        Browser(app.test_client(), shop).authorize()

    assert ada.authorize().status_code == 303


def test_requests_of_a_signed_in_owner_are_limited(ada: Browser, runtime: Runtime) -> None:
    statuses = [ada.authorize(prompt="consent").status_code for _ in range(4)]

    assert statuses == [303, 303, 303, 429]
    assert count_interactions(runtime.store) == 3


def test_each_network_has_its_own_budget(app: Flask, shop: CreatedClient) -> None:
    for _ in range(4):
        Browser(app.test_client(), shop).authorize()

    other = app.test_client().get(
        "/oauth/authorize",
        query_string=Browser(app.test_client(), shop).authorization_parameters(),
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    assert other.status_code == 303


def test_the_budget_refills(app: Flask, shop: CreatedClient, clock: Clock) -> None:
    for _ in range(4):
        Browser(app.test_client(), shop).authorize()
    clock.forward(201)

    assert Browser(app.test_client(), shop).authorize().status_code == 303


def test_only_the_newest_twenty_requests_of_a_browser_are_stored(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url)
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=["https://shop.example/back"]
    )
    browser, other = Browser(app.test_client(), shop), Browser(app.test_client(), shop)
    other.authorize()
    first = browser.authorize().location
    for _ in range(24):
        clock.forward(1)
        last = browser.authorize().location

    assert count_interactions(runtime.store) == 20 + 1, "20 of this browser, 1 of the other"
    assert browser.get(last).status_code == 303, "redirected to the sign-in"
    assert browser.get(first).status_code == 400


@pytest.mark.parametrize("renamed", [("scope", "scopes"), ("nonce", "once")])
def test_a_request_stored_by_another_version_is_refused(
    ada: Browser, runtime: Runtime, renamed: tuple[str, str]
) -> None:
    page = ada.authorize(prompt="consent").headers["Location"]
    before, after = (f'"{name}":' for name in renamed)
    column = tables.interactions.c.request
    change = Statement(update(tables.interactions).values(request=func.replace(column, before, after)))
    runtime.store.write(Transaction(rows=(change(),)))

    response = ada.get(page)

    assert response.status_code == 400
    assert "The settings of this site have changed" in response.text
