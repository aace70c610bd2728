"""Which client is calling, and can it prove it (RFC 6749 §2.3)."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from flask import Flask

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import MakeApp, Register
from tests.support.browser_client import Browser, Clock, assert_store_unchanged
from valetkey.authorization_server.clients.service import add_secret, disable_client, enable_client, register_client
from valetkey.protocol.secret import CLIENT_SECRET, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction

ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
SENT = {"grant_type": "client_credentials", "token": "any"}


@pytest.fixture
def robot(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def known(runtime: Runtime, client_id: str) -> Client:
    client = clients.find(runtime.store, client_id, runtime.clock())
    assert client
    return client


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_secret_may_come_by_basic_or_by_post(robot: Browser, endpoint: str) -> None:
    client_id, secret = robot.auth or ("", "")

    assert robot.http.post(endpoint, data=SENT, auth=(client_id, secret)).status_code == 200
    in_form = {**SENT, "client_id": client_id, "client_secret": secret}
    assert robot.http.post(endpoint, data=in_form).status_code == 200


@pytest.mark.parametrize(
    "secret", ["wrong", generate_secret(CLIENT_SECRET).reveal(), ""], ids=["wrong", "well formed", "empty"]
)
def test_a_wrong_secret_is_refused_with_a_challenge(robot: Browser, runtime: Runtime, secret: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in ENDPOINTS:
            refused = robot.http.post(endpoint, data=SENT, headers=basic(robot.client.client_id, secret))
            check_refusal(refused, "invalid_client", 401)
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_a_401_always_has_a_challenge(robot: Browser) -> None:
    """RFC 9110 §15.5.2, also where the secret came in the form or under another scheme."""
    in_form = robot.http.post("/oauth/token", data={**SENT, "client_id": robot.client.client_id, "client_secret": "x"})
    bearer = robot.http.post("/oauth/token", data=SENT, headers={"Authorization": "Bearer x"})
    nothing = robot.http.post("/oauth/token", data=SENT)

    for refused in (in_form, bearer, nothing):
        check_refusal(refused, "invalid_client", 401)
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_two_methods_at_once_are_refused(robot: Browser, runtime: Runtime, endpoint: str) -> None:
    client_id, secret = robot.auth or ("", "")
    both = {**SENT, "client_id": client_id, "client_secret": secret}
    with assert_store_unchanged(runtime):
        check_refusal(robot.http.post(endpoint, data=both, auth=(client_id, secret)), "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_client_id_in_the_body_is_refused(robot: Browser, register: Register, endpoint: str) -> None:
    other = register("machine", name="Other")

    refused = robot.http.post(endpoint, data={**SENT, "client_id": other.client_id}, auth=robot.auth)

    check_refusal(refused, "invalid_request")


def test_its_own_client_id_beside_basic_is_fine(robot: Browser) -> None:
    sent = {**SENT, "client_id": robot.client.client_id}

    assert robot.http.post("/oauth/token", data=sent, auth=robot.auth).status_code == 200


def test_a_confidential_client_cannot_pass_for_a_public_one(robot: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        refused = robot.http.post("/oauth/token", data={**SENT, "client_id": robot.client.client_id})

    check_refusal(refused, "invalid_client", 401)


def test_a_public_client_with_a_secret_is_refused(app: Flask, register: Register) -> None:
    public = register("browser")
    http = app.test_client()

    by_basic = http.post("/oauth/token", data=SENT, headers=basic(public.client_id, "secret"))
    by_post = http.post("/oauth/token", data={**SENT, "client_id": public.client_id, "client_secret": "secret"})

    check_refusal(by_basic, "invalid_client", 401)
    check_refusal(by_post, "invalid_client", 401)


def test_a_public_client_is_public_on_every_endpoint(app: Flask, register: Register) -> None:
    public = register("browser")
    http = app.test_client()
    sent = {**SENT, "client_id": public.client_id}

    check_refusal(http.post("/oauth/token", data=sent), "unauthorized_client")
    check_refusal(http.post("/oauth/introspect", data=sent), "invalid_client", 401)
    assert http.post("/oauth/revoke", data=sent).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_unknown_client_is_refused_in_the_same_words(robot: Browser, endpoint: str) -> None:
    unknown = robot.http.post(endpoint, data=SENT, headers=basic("nobody", "secret"))
    wrong = robot.http.post(endpoint, data=SENT, headers=basic(robot.client.client_id, "secret"))

    check_refusal(unknown, "invalid_client", 401)
    assert unknown.json == wrong.json


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_disabled_client_is_out_at_once(robot: Browser, runtime: Runtime, endpoint: str) -> None:
    assert robot.http.post(endpoint, data=SENT, auth=robot.auth).status_code == 200
    disable_client(runtime, known(runtime, robot.client.client_id))

    check_refusal(robot.http.post(endpoint, data=SENT, auth=robot.auth), "invalid_client", 401)


def test_a_disabled_clients_tokens_are_out_too(ada: Browser, robot: Browser, runtime: Runtime, clock: Clock) -> None:
    answer = ada.obtain_tokens()
    assert ada.call(answer["access_token"]).status_code == 200
    disable_client(runtime, known(runtime, ada.client.client_id))

    assert ada.call(answer["access_token"]).status_code == 401
    assert robot.introspect(answer["access_token"]).json == {"active": False}
    assert robot.introspect(answer["refresh_token"]).json == {"active": False}
    clock.forward(seconds=2)
    enable_client(runtime, known(runtime, ada.client.client_id))
    assert ada.call(answer["access_token"]).status_code == 401, "what was revoked stays so"
    check_refusal(ada.refresh(answer["refresh_token"]), "invalid_grant")
    assert ada.obtain_tokens()["access_token"], "but the client is back"


@pytest.mark.parametrize("lives", [30, 100], ids=["remembered", "read again"])  # clients are, for a minute
def test_two_secrets_live_at_once_until_the_old_one_ends(
    robot: Browser, runtime: Runtime, clock: Clock, lives: int
) -> None:
    old = robot.auth
    new = add_secret(runtime, known(runtime, robot.client.client_id), old_secret_ttl_s=lives)
    answers: Callable[[], list[int]] = lambda: [  # noqa: E731
        robot.http.post("/oauth/token", data=SENT, auth=auth).status_code
        for auth in (old, (robot.client.client_id, new.reveal()))
    ]

    assert answers() == [200, 200]
    clock.forward(seconds=lives + 1)
    assert answers() == [401, 200]


def test_a_public_client_does_not_act_for_itself_whatever_its_row_says(robot: Browser, runtime: Runtime) -> None:
    client = known(runtime, robot.client.client_id)
    public = {**client.metadata, "token_endpoint_auth_method": "none"}
    runtime.store.write(Transaction(rows=(clients.change(client, metadata=public, disabled_at=None),)))

    refused = robot.http.post("/oauth/token", data={**SENT, "client_id": client.client_id})

    check_refusal(refused, "unauthorized_client")


def test_both_halves_of_basic_are_form_encoded(app: Flask, runtime: Runtime) -> None:
    """RFC 6749 §2.3.1: a client id with a colon, a plus and a percent sign."""
    odd = register_client(runtime, name="Odd", policy="machine", client_id="https://odd.example/c%+")
    assert odd.secret
    header = basic("https%3A%2F%2Fodd.example%2Fc%25%2B", odd.secret.reveal())

    assert app.test_client().post("/oauth/token", data=SENT, headers=header).status_code == 200


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
def test_a_malformed_header_is_refused(robot: Browser, runtime: Runtime, header: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in ENDPOINTS:
            refused = robot.http.post(endpoint, data=SENT, headers={"Authorization": header})
            check_refusal(refused, "invalid_client", 401)


def test_credentials_in_the_query_count_for_nothing(robot: Browser, runtime: Runtime) -> None:
    """RFC 6749 §2.3.1, RFC 9700 §4.3."""
    client_id, secret = robot.auth or ("", "")
    query = {**SENT, "client_id": client_id, "client_secret": secret}

    refused = robot.http.post("/oauth/token", query_string=query, data={"grant_type": "client_credentials"})

    check_refusal(refused, "invalid_client", 401)


def test_guessing_secrets_is_limited_by_network(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app = make_app(store_url, client_authentication_limit="3/minute burst 3")
    robot = register_client(app.extensions["valetkey"], name="Robot", policy="machine")
    assert robot.secret
    http = app.test_client()
    guess = lambda: http.post("/oauth/token", data=SENT, headers=basic(robot.client_id, "guess"))  # noqa: E731

    statuses = [guess().status_code for _ in range(4)]

    assert statuses == [401, 401, 401, 429]
    limited = guess()
    check_refusal(limited, "temporarily_unavailable", 429)
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    right = (robot.client_id, robot.secret.reveal())
    assert http.post("/oauth/token", data=SENT, auth=right).status_code == 200, "who has the secret is not locked out"
    clock.forward(seconds=60)
    assert guess().status_code == 401


def test_a_spoofed_forwarded_for_does_not_help_a_guesser(make_app: MakeApp, store_url: str) -> None:
    """RFC 9700 §4.13: no proxy is trusted unless the operator says so."""
    app = make_app(store_url, client_authentication_limit="2/minute burst 2")
    http = app.test_client()

    statuses = [
        http.post(
            "/oauth/token", data=SENT, headers={**basic("nobody", "x"), "X-Forwarded-For": f"10.0.0.{n}"}
        ).status_code
        for n in range(3)
    ]

    assert statuses == [401, 401, 429]
