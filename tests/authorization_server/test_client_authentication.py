"""Client authentication (RFC 6749 §2.3)."""

from __future__ import annotations

import base64

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import add_secret, disable_client, enable_client, register_client
from valetkey.protocol.secret import CLIENT_SECRET, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction

ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
FORM = {"grant_type": "client_credentials", "token": "any"}


@pytest.fixture
def machine(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


def basic_header(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def find_client(runtime: Runtime, client_id: str) -> Client:
    client = clients.find(runtime.store, client_id, runtime.clock())
    assert client
    return client


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_client_may_send_its_secret_by_basic_or_in_the_form(machine: Browser, endpoint: str) -> None:
    client_id, secret = machine.auth or ("", "")

    assert machine.http.post(endpoint, data=FORM, auth=(client_id, secret)).status_code == 200
    in_form = {**FORM, "client_id": client_id, "client_secret": secret}
    assert machine.http.post(endpoint, data=in_form).status_code == 200


@pytest.mark.parametrize(
    "secret", ["wrong", generate_secret(CLIENT_SECRET).reveal(), ""], ids=["wrong", "well formed", "empty"]
)
def test_a_wrong_secret_is_refused_with_a_challenge(machine: Browser, runtime: Runtime, secret: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in ENDPOINTS:
            refused = machine.http.post(endpoint, data=FORM, headers=basic_header(machine.client.client_id, secret))
            check_refusal(refused, "invalid_client", 401)
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_every_401_has_a_challenge(machine: Browser) -> None:
    """RFC 9110 §15.5.2, even if the secret was sent in the form or under another scheme."""
    in_form = machine.http.post(
        "/oauth/token", data={**FORM, "client_id": machine.client.client_id, "client_secret": "x"}
    )
    bearer = machine.http.post("/oauth/token", data=FORM, headers={"Authorization": "Bearer x"})
    no_credentials = machine.http.post("/oauth/token", data=FORM)

    for refused in (in_form, bearer, no_credentials):
        check_refusal(refused, "invalid_client", 401)
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_two_authentication_methods_at_once_are_refused(machine: Browser, runtime: Runtime, endpoint: str) -> None:
    client_id, secret = machine.auth or ("", "")
    form = {**FORM, "client_id": client_id, "client_secret": secret}
    with assert_store_unchanged(runtime):
        check_refusal(machine.http.post(endpoint, data=form, auth=(client_id, secret)), "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_client_id_in_the_body_is_refused(machine: Browser, register: Register, endpoint: str) -> None:
    other = register("machine", name="Other")

    refused = machine.http.post(endpoint, data={**FORM, "client_id": other.client_id}, auth=machine.auth)

    check_refusal(refused, "invalid_request")


def test_basic_with_the_same_client_id_in_the_form_is_accepted(machine: Browser) -> None:
    form = {**FORM, "client_id": machine.client.client_id}

    assert machine.http.post("/oauth/token", data=form, auth=machine.auth).status_code == 200


def test_a_confidential_client_cannot_authenticate_as_a_public_one(machine: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        refused = machine.http.post("/oauth/token", data={**FORM, "client_id": machine.client.client_id})

    check_refusal(refused, "invalid_client", 401)


def test_a_public_client_with_a_secret_is_refused(app: Flask, register: Register) -> None:
    public = register("browser")
    http = app.test_client()

    by_basic = http.post("/oauth/token", data=FORM, headers=basic_header(public.client_id, "secret"))
    by_post = http.post("/oauth/token", data={**FORM, "client_id": public.client_id, "client_secret": "secret"})

    check_refusal(by_basic, "invalid_client", 401)
    check_refusal(by_post, "invalid_client", 401)


def test_a_public_client_may_revoke_but_not_introspect(app: Flask, register: Register) -> None:
    public = register("browser")
    http = app.test_client()
    form = {**FORM, "client_id": public.client_id}

    check_refusal(http.post("/oauth/token", data=form), "unauthorized_client")
    check_refusal(http.post("/oauth/introspect", data=form), "invalid_client", 401)
    assert http.post("/oauth/revoke", data=form).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_unknown_client_gets_the_same_response_as_a_wrong_secret(machine: Browser, endpoint: str) -> None:
    unknown = machine.http.post(endpoint, data=FORM, headers=basic_header("unknown", "secret"))
    wrong = machine.http.post(endpoint, data=FORM, headers=basic_header(machine.client.client_id, "secret"))

    check_refusal(unknown, "invalid_client", 401)
    assert unknown.json == wrong.json


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_disabled_client_is_refused_at_once(machine: Browser, runtime: Runtime, endpoint: str) -> None:
    assert machine.http.post(endpoint, data=FORM, auth=machine.auth).status_code == 200
    disable_client(runtime.store, find_client(runtime, machine.client.client_id), runtime.clock())

    check_refusal(machine.http.post(endpoint, data=FORM, auth=machine.auth), "invalid_client", 401)


def test_tokens_of_a_disabled_client_stay_revoked_after_it_is_enabled(
    ada: Browser, machine: Browser, runtime: Runtime, clock: Clock
) -> None:
    tokens = ada.obtain_tokens()
    assert ada.call(tokens["access_token"]).status_code == 200
    disable_client(runtime.store, find_client(runtime, ada.client.client_id), runtime.clock())

    assert ada.call(tokens["access_token"]).status_code == 401
    assert machine.introspect(tokens["access_token"]).json == {"active": False}
    assert machine.introspect(tokens["refresh_token"]).json == {"active": False}
    clock.forward(seconds=2)
    enable_client(runtime.store, find_client(runtime, ada.client.client_id), runtime.clock())
    assert ada.call(tokens["access_token"]).status_code == 401, "a revoked token stays revoked"
    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")
    assert ada.obtain_tokens()["access_token"], "the client can get new tokens"


@pytest.mark.parametrize("ttl_s", [30, 100], ids=["cached client", "reloaded client"])  # cached for a minute
def test_both_secrets_are_valid_until_the_old_one_expires(
    machine: Browser, runtime: Runtime, clock: Clock, ttl_s: int
) -> None:
    old = machine.auth
    new = add_secret(
        runtime.store, find_client(runtime, machine.client.client_id), runtime.clock(), old_secret_ttl_s=ttl_s
    )
    credentials = (old, (machine.client.client_id, new.reveal()))

    def send_with_each() -> list[int]:
        return [machine.http.post("/oauth/token", data=FORM, auth=auth).status_code for auth in credentials]

    assert send_with_each() == [200, 200]
    clock.forward(seconds=ttl_s + 1)
    assert send_with_each() == [401, 200]


def test_a_public_client_cannot_use_client_credentials_even_if_its_row_allows_it(
    machine: Browser, runtime: Runtime
) -> None:
    client = find_client(runtime, machine.client.client_id)
    public = {**client.metadata, "token_endpoint_auth_method": "none"}
    runtime.store.write(Transaction(rows=(clients.change(client, metadata=public, disabled_at=None),)))

    refused = machine.http.post("/oauth/token", data={**FORM, "client_id": client.client_id})

    check_refusal(refused, "unauthorized_client")


def test_client_id_and_secret_of_basic_are_form_decoded(app: Flask, runtime: Runtime) -> None:
    """RFC 6749 §2.3.1: a client id with a colon, a plus and a percent sign."""
    unusual = register_client(
        runtime, runtime.clock(), name="Odd", policy="machine", client_id="https://odd.example/c%+"
    )
    assert unusual.secret
    header = basic_header("https%3A%2F%2Fodd.example%2Fc%25%2B", unusual.secret.reveal())

    assert app.test_client().post("/oauth/token", data=FORM, headers=header).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:secret").decode(),
        "Basic " + base64.b64encode(b"a\0b:secret").decode(),
        "Basic " + base64.b64encode(b"a%00b:secret").decode(),
        "Basic " + base64.b64encode(b"a%ff:secret").decode(),
        "Basic " + "A" * 100_000,
        "Bearer abc",
        "Digest username=x",
        "Negotiate " + "x" * 50_000,
        "\xe4\xf6",
    ],
    ids=lambda header: header[:24],
)
def test_a_malformed_authorization_header_is_refused(machine: Browser, runtime: Runtime, header: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in ENDPOINTS:
            refused = machine.http.post(endpoint, data=FORM, headers={"Authorization": header})
            check_refusal(refused, "invalid_client", 401)


def test_credentials_in_the_query_are_ignored(machine: Browser, runtime: Runtime) -> None:
    """RFC 6749 §2.3.1, RFC 9700 §4.3."""
    client_id, secret = machine.auth or ("", "")
    query = {**FORM, "client_id": client_id, "client_secret": secret}

    refused = machine.http.post("/oauth/token", query_string=query, data={"grant_type": "client_credentials"})

    check_refusal(refused, "invalid_client", 401)


def test_guessing_secrets_is_limited_by_network(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app = make_app(store_url, client_authentication_limit="3/minute burst 3")
    machine = register_client(
        app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"
    )
    assert machine.secret
    http = app.test_client()

    def guess() -> TestResponse:
        return http.post("/oauth/token", data=FORM, headers=basic_header(machine.client_id, "guess"))

    statuses = [guess().status_code for _ in range(4)]

    assert statuses == [401, 401, 401, 429]
    limited = guess()
    check_refusal(limited, "too_many_requests", 429)
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    auth = (machine.client_id, machine.secret.reveal())
    assert http.post("/oauth/token", data=FORM, auth=auth).status_code == 200, (
        "a client with the right secret is not locked out"
    )
    clock.forward(seconds=60)
    assert guess().status_code == 401


def test_a_spoofed_x_forwarded_for_does_not_evade_the_limit_on_guessing(make_app: MakeApp, store_url: str) -> None:
    """RFC 9700 §4.13: no proxy is trusted unless the operator configures it."""
    app = make_app(store_url, client_authentication_limit="2/minute burst 2")
    http = app.test_client()

    statuses = [
        http.post(
            "/oauth/token", data=FORM, headers={**basic_header("unknown", "x"), "X-Forwarded-For": f"10.0.0.{n}"}
        ).status_code
        for n in range(3)
    ]

    assert statuses == [401, 401, 429]
