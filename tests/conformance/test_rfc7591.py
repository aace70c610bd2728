"""RFC 7591: OAuth 2.0 Dynamic Client Registration Protocol."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.registration import ExpectRefusal, PostRegistration, both_stores, created_client
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.authorization_server.clients.service import enable_client
from valetkey.protocol.secret import INITIAL_ACCESS_TOKEN, REGISTRATION_ACCESS_TOKEN, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients

LOOPBACK = "http://127.0.0.1:4321/callback"
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """Use SQLite unless the test is parametrized with a store."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


@both_stores
def test_a_registered_client_gets_tokens_at_once(ada: Browser, post_registration: PostRegistration) -> None:
    """§3.2.1."""
    ada.client = created_client(post_registration(client_name="Newcomer").json)

    assert ada.call(ada.obtain_tokens()["access_token"]).status_code == 200


def test_the_response_is_201_with_the_client_information_and_is_not_cached(
    post_registration: PostRegistration, clock: Clock
) -> None:
    """§3.2.1: client_id REQUIRED; client_secret_expires_at REQUIRED with a secret; 0 means that it does not expire."""
    response = post_registration(client_name="Shop")

    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_type == "application/json"
    assert response.json["client_id_issued_at"] == int(clock())
    assert response.json["client_secret"] and response.json["client_secret_expires_at"] == 0


def test_a_public_client_gets_no_secret(post_registration: PostRegistration) -> None:
    """§3.2.1: client_secret."""
    response = post_registration(token_endpoint_auth_method="none")

    assert not {"client_secret", "client_secret_expires_at"} & response.json.keys()


def test_each_registration_gets_its_own_client_id_and_secrets(post_registration: PostRegistration) -> None:
    """§3.2.1: the client_id is unique; §2.3: also among instances of the same software."""
    registrations = [post_registration(software_id="same").json for _ in range(3)]

    for name in ("client_id", "client_secret", "registration_access_token"):
        assert len({registration[name] for registration in registrations}) == 3


def test_omitted_members_get_the_defaults_of_the_specification(post_registration: PostRegistration) -> None:
    """§2: authorization_code, code and client_secret_basic; §3.2.1: the response contains all registered metadata."""
    information = post_registration().json

    assert information["grant_types"] == ["authorization_code"]
    assert information["response_types"] == ["code"]
    assert information["token_endpoint_auth_method"] == "client_secret_basic"
    assert information["redirect_uris"] == [CALLBACK]


@both_stores
def test_the_response_contains_the_registered_members_as_they_were_sent(post_registration: PostRegistration) -> None:
    """§3.2.1."""
    metadata = {
        "client_name": "Shop",
        "client_name#de-CH": "Laden",
        "client_uri": "https://shop.example/",
        "logo_uri": "https://shop.example/logo.png",
        "tos_uri": "https://shop.example/terms",
        "policy_uri": "https://shop.example/privacy",
        "contacts": ["ada@shop.example"],
        "scope": "notes:read profile",
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "software_version": "1.0",
        "jwks_uri": "https://shop.example/jwks",
    }

    information = post_registration(**metadata).json

    assert {name: information[name] for name in metadata} == metadata


def test_unknown_members_are_ignored(post_registration: PostRegistration) -> None:
    """§2: the server MUST ignore members that it does not understand, and MAY ignore a software statement (§3.1.1)."""
    response = post_registration(
        flavour="violet", software_statement="eyJ.eyJ.x", **{"client_name#not a language!": "x"}
    )

    assert response.status_code == 201
    assert not {"flavour", "software_statement", "client_name#not a language!"} & response.json.keys()


def test_a_client_cannot_choose_its_client_id_secret_token_or_policy(post_registration: PostRegistration) -> None:
    """§3.2.1."""
    assert "default_resource" not in post_registration(default_resource="https://other.example/").json
    response = post_registration(
        client_id="root", client_secret="chosen", registration_access_token="chosen", policy="machine"
    )

    assert response.json["client_id"] != "root"
    assert "chosen" not in response.text


def test_null_and_empty_members_count_as_omitted(post_registration: PostRegistration) -> None:
    """RFC 7592 §2.2."""
    assert "client_uri" not in post_registration(client_uri="", logo_uri=None).json


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://shop.example/x",
        "https://shop.example/back#fragment",
        "https://shop.example/back#",
        "https://user:password@shop.example/back",
        "https://shop.example@evil.example/",
        "http://shop.example/back",
        "https:///back",
        "//shop.example/back",
        "/back",
        "",
        " https://shop.example/back",
        "https://shop.example/b\nack",
        "https://shop.example/\u202eback",
        "https://shop.example\\@evil.example/",
        "https://shop.example:0/",
        "https://shop.example/" + "a" * 2000,
        17,
        None,
        ["https://shop.example/back"],
    ],
)
def test_an_unsafe_redirect_uri_is_refused(expect_refusal: ExpectRefusal, uri: Any) -> None:
    """§2, §5; §3.2.2: invalid_redirect_uri."""
    expect_refusal("invalid_redirect_uri", redirect_uris=[CALLBACK, uri])
    expect_refusal(
        "invalid_redirect_uri", redirect_uris=[uri], token_endpoint_auth_method="none", application_type="native"
    )


@pytest.mark.parametrize("uris", [[], None, CALLBACK, {"a": CALLBACK}, [f"{CALLBACK}/{n}" for n in range(33)]])
def test_redirect_uris_must_be_an_array_of_1_to_32_uris(expect_refusal: ExpectRefusal, uris: Any) -> None:
    """§2: clients of a grant with a redirection MUST register their redirect URIs."""
    expect_refusal("invalid_redirect_uri", redirect_uris=uris)


def test_private_use_schemes_require_a_native_app_and_a_dot(
    post_registration: PostRegistration, expect_refusal: ExpectRefusal
) -> None:
    """RFC 8252 §7.1."""
    native = {"token_endpoint_auth_method": "none", "application_type": "native"}

    assert post_registration(redirect_uris=["com.example.app:/back"], **native).status_code == 201
    expect_refusal("invalid_redirect_uri", redirect_uris=["exampleapp:/back"], **native)
    expect_refusal("invalid_redirect_uri", redirect_uris=["com.example.app:/back"])


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("client_name", "x" * 101),
        ("client_name", "   "),
        ("client_name", "Shop\u202egpj.exe"),
        ("client_name", "Shop\u2066"),
        ("client_name", "Shop\r\nSet-Cookie: a"),
        ("client_name", "Shop\0"),
        ("client_name", 5),
        ("client_uri", "javascript:alert(1)"),
        ("client_uri", "data:text/html,x"),
        ("logo_uri", "data:image/svg+xml,x"),
        ("tos_uri", "https://user@shop.example/"),
        ("policy_uri", "https://shop.example/#x"),
        ("jwks_uri", "http://shop.example/jwks"),
        ("jwks_uri", "file:///etc/passwd"),
        ("contacts", "ada@shop.example"),
        ("contacts", ["a\nb"]),
        ("contacts", ["a"] * 33),
        ("scope", ["profile"]),
        ("scope", "unknown"),
        ("scope", 'pro"file'),
        ("software_id", {"a": 1}),
        ("software_version", "x" * 2001),
        ("jwks", {"keys": []}),
        ("jwks", []),
        ("jwks", {"keys": ["x"]}),
        ("jwks", {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
        ("jwks", {"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"}]}),
        ("jwks", {"keys": [{"kty": "EC", "x": {"nested": "a"}}]}),
        ("token_endpoint_auth_method", "client_secret_jwt"),
        ("token_endpoint_auth_method", ["none"]),
        ("grant_types", ["implicit"]),
        ("grant_types", ["password"]),
        ("grant_types", []),
        ("grant_types", ["refresh_token"]),
        ("grant_types", "authorization_code"),
        ("response_types", ["token"]),
        ("response_types", []),
    ],
)
def test_invalid_client_metadata_is_refused(expect_refusal: ExpectRefusal, member: str, value: Any) -> None:
    """§3.2.2: invalid_client_metadata."""
    expect_refusal("invalid_client_metadata", **{member: value})


def test_jwks_and_jwks_uri_exclude_each_other(expect_refusal: ExpectRefusal) -> None:
    """§2: MUST NOT both be present."""
    key = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}
    expect_refusal("invalid_client_metadata", jwks={"keys": [key]}, jwks_uri="https://shop.example/jwks")


def test_private_key_jwt_needs_keys(expect_refusal: ExpectRefusal) -> None:
    """§2: jwks, jwks_uri."""
    expect_refusal("invalid_client_metadata", token_endpoint_auth_method="private_key_jwt")


def test_grant_types_and_response_types_must_match(expect_refusal: ExpectRefusal) -> None:
    """§2.1: a server SHOULD refuse a contradiction."""
    expect_refusal("invalid_client_metadata", grant_types=["authorization_code"], response_types=[])


def test_unsupported_grant_and_response_types_are_left_out(post_registration: PostRegistration) -> None:
    """§3.2.1: the server MAY replace values, and the response contains what it registered."""
    information = post_registration(
        grant_types=["authorization_code", "implicit", "urn:example:other"], response_types=["code", "token"]
    ).json

    assert (information["grant_types"], information["response_types"]) == (["authorization_code"], ["code"])


def test_unknown_scopes_are_left_out_and_the_registered_scope_is_only_a_default(
    ada: Browser, post_registration: PostRegistration
) -> None:
    """A client may request more (a step-up), because under open registration it could also register again with more."""
    response = post_registration(scope="profile unknown")
    assert response.json["scope"] == "profile"
    ada.client = created_client(response.json)

    assert "/oauth/consent/" in ada.authorize(scope="notes:write").location


def test_open_registration_does_not_allow_client_credentials(
    expect_refusal: ExpectRefusal, post_registration: PostRegistration
) -> None:
    """§5: a client that registered itself must not get data without a user's consent."""
    expect_refusal("invalid_client_metadata", grant_types=["client_credentials"], redirect_uris=None)

    response = post_registration(grant_types=["authorization_code", "client_credentials"])
    assert response.json["grant_types"] == ["authorization_code"]


@pytest.mark.parametrize(
    ("metadata", "policy"),
    [
        ({}, "web"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "web"),
        ({"token_endpoint_auth_method": "none"}, "browser"),
        ({"token_endpoint_auth_method": "none", "application_type": "native"}, "native"),
        ({"token_endpoint_auth_method": "none", "redirect_uris": [LOOPBACK]}, "native"),
        ({"token_endpoint_auth_method": "none", "redirect_uris": [LOOPBACK], "application_type": "web"}, "browser"),
        ({"token_endpoint_auth_method": "none", "redirect_uris": [LOOPBACK, CALLBACK]}, "browser"),
    ],
)
def test_the_policy_follows_from_the_client_metadata(
    runtime: Runtime, post_registration: PostRegistration, metadata: dict[str, Any], policy: str
) -> None:
    client = clients.find(runtime.store, post_registration(**metadata).json["client_id"], runtime.clock())

    assert client and client.policy.name == policy


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b'{"redirect_uris": [], "redirect_uris": ["https://a.example/"]}', "application/json", 400),
        (b'{"default_max_age": NaN}', "application/json", 400),
        (b"\xff\xfe{}", "application/json", 400),
        (b'{"redirect_uris": ["https://a.example/"], "flavour": "\\ud800"}', "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b'{"a":' * 10_000, "application/json", 400),
        (b'{"default_max_age": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b" " * 66_000, "application/json", 413),
        (b"redirect_uris=x", "application/x-www-form-urlencoded", 400),
        (b'{"redirect_uris": ["https://a.example/"]}', "text/plain", 400),
        (b'{"redirect_uris": ["https://a.example/"]}', "", 400),
    ],
)
def test_a_body_that_is_not_a_json_object_or_too_large_is_refused(
    http: FlaskClient, runtime: Runtime, body: bytes, content_type: str, status: int
) -> None:
    """§3.1: an application/json POST whose body is an object."""
    with assert_store_unchanged(runtime):
        response = http.post("/oauth/register", data=body, content_type=content_type)

    assert (response.status_code, response.content_type) == (status, "application/json")
    assert response.json["error"] == "invalid_request"


def test_only_post_is_accepted(http: FlaskClient) -> None:
    """§3."""
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        refused = http.open("/oauth/register", method=method, content_type="application/json", data=b"{}")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_scripts_of_any_origin_may_register_clients(http: FlaskClient, post_registration: PostRegistration) -> None:
    """§3: open registration."""
    preflight = http.options("/oauth/register/client")

    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert post_registration().headers["Access-Control-Allow-Origin"] == "*"


def test_registration_is_closed_by_default_in_production(make_app: MakeApp, store_url: str) -> None:
    """§3: the operator decides whether registration is open."""
    app = make_app(store_url, issuer="https://notes.example")
    http = app.test_client()

    refused = http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="register"'
    assert "registration_endpoint" not in http.get(METADATA).json
    assert count_rows(app.extensions["valetkey"].store, "valetkey_clients") == 0


def test_the_endpoint_is_in_the_metadata_if_registration_is_open(http: FlaskClient) -> None:
    """RFC 8414 §2."""
    for path in (METADATA, "/.well-known/openid-configuration"):
        assert http.get(path).json["registration_endpoint"] == "http://127.0.0.1:8000/oauth/register"


@both_stores
def test_an_initial_access_token_allows_registration_with_its_policy_until_used_up(
    make_app: MakeApp, store_url: str
) -> None:
    """§3: initial access token."""
    app = make_app(store_url, issuer="https://notes.example")
    runtime: Runtime = app.extensions["valetkey"]
    token = create_initial_access_token(runtime.store, runtime.clock(), policy="machine", lifetime_s=60, max_uses=2)
    send = lambda: app.test_client().post(  # noqa: E731
        "/oauth/register", json={}, headers={"Authorization": f"Bearer {token.reveal()}"}
    )

    responses = [send() for _ in range(3)]

    assert [response.status_code for response in responses] == [201, 201, 401]
    assert responses[2].json["error"] == "invalid_token"
    assert 'error="invalid_token"' in responses[2].headers["WWW-Authenticate"]
    client = clients.find(runtime.store, responses[0].json["client_id"], runtime.clock())
    assert client and client.policy.name == "machine" and client.disabled_at is None
    assert responses[0].json["grant_types"] == ["client_credentials"]


@both_stores
def test_the_last_use_of_an_initial_access_token_registers_one_client(
    make_app: MakeApp, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§3: two requests that read the token at the same time cannot both use it."""
    app = make_app(store_url)
    runtime: Runtime = app.extensions["valetkey"]
    token = create_initial_access_token(runtime.store, runtime.clock(), policy="web", lifetime_s=60, max_uses=1)
    unused = find_initial_access_token(runtime, token)
    monkeypatch.setattr("valetkey.storage.registrations.find_initial_access_token", lambda *_: unused)
    send = lambda: app.test_client().post(  # noqa: E731
        "/oauth/register", json={"redirect_uris": [CALLBACK]}, headers={"Authorization": f"Bearer {token.reveal()}"}
    )
    assert send().status_code == 201

    with assert_store_unchanged(runtime):
        assert send().status_code == 401


def find_initial_access_token(runtime: Runtime, token: Secret) -> Any:
    from valetkey.storage import registrations

    return registrations.find_initial_access_token(runtime.store, token.digest(), runtime.clock())


@both_stores
def test_an_initial_access_token_expires(post_registration: PostRegistration, runtime: Runtime, clock: Clock) -> None:
    """§1.2, §3."""
    token = create_initial_access_token(
        runtime.store, runtime.clock(), policy="web", lifetime_s=60, max_uses=1
    ).reveal()
    clock.forward(seconds=61)

    with assert_store_unchanged(runtime):
        assert post_registration(token).status_code == 401


def test_another_token_is_refused_even_if_registration_is_open(
    post_registration: PostRegistration, runtime: Runtime, ada: Browser
) -> None:
    """§3."""
    registration_token = post_registration().json["registration_access_token"]
    access_token = ada.obtain_tokens()["access_token"]
    invented = [
        generate_secret(INITIAL_ACCESS_TOKEN).reveal(),
        generate_secret(REGISTRATION_ACCESS_TOKEN).reveal(),
        "x",
    ]

    with assert_store_unchanged(runtime):
        for token in (registration_token, access_token, *invented):
            assert post_registration(token).status_code == 401


def test_an_initial_access_token_is_not_accepted_as_an_access_token(http: FlaskClient, runtime: Runtime) -> None:
    """§1.2."""
    token = create_initial_access_token(
        runtime.store, runtime.clock(), policy="web", lifetime_s=60, max_uses=1
    ).reveal()

    for path in ("/api/protected", "/oauth/userinfo"):
        assert http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 401


@both_stores
def test_with_the_policy_approve_a_client_is_disabled_until_it_is_approved(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()
    response = http.post("/oauth/register", json={"grant_types": ["client_credentials"]})
    created = created_client(response.json)
    browser = Browser(http, created)

    assert response.status_code == 201
    assert browser.request_token("client_credentials").status_code == 401
    assert http.get("/oauth/authorize", query_string={"client_id": created.client_id}).status_code == 400
    client = clients.find(runtime.store, created.client_id, runtime.clock())
    assert client
    enable_client(runtime.store, client, runtime.clock())
    assert browser.request_token("client_credentials").status_code == 200


def test_a_client_with_an_initial_access_token_needs_no_approval(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_policy="approve")
    token = create_initial_access_token(
        app.extensions["valetkey"].store,
        app.extensions["valetkey"].clock(),
        policy="machine",
        lifetime_s=60,
        max_uses=1,
    ).reveal()
    http = app.test_client()

    response = http.post("/oauth/register", json={}, headers={"Authorization": f"Bearer {token}"})

    assert Browser(http, created_client(response.json)).request_token("client_credentials").status_code == 200


def test_the_setting_registration_profile_sets_the_policy_of_every_client(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_profile="oidc-compat")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()

    confidential = http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
    public = http.post("/oauth/register", json={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"})

    client = clients.find(runtime.store, confidential.json["client_id"], runtime.clock())
    assert client and client.policy.name == "oidc-compat"
    assert public.json["error"] == "invalid_client_metadata"


def test_registrations_are_limited_by_client_network(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    """§5: registrations must not become a denial of service."""
    http = make_app(store_url, registration_limit="2/minute burst 2").test_client()
    send = lambda: http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})  # noqa: E731

    responses = [send() for _ in range(3)]

    assert [response.status_code for response in responses] == [201, 201, 429]
    assert int(responses[2].headers["Retry-After"]) >= 1
    clock.forward(seconds=60)
    assert send().status_code == 201


@both_stores
def test_only_the_digest_of_the_secret_is_stored(post_registration: PostRegistration, runtime: Runtime) -> None:
    information = post_registration().json

    client = clients.find(runtime.store, information["client_id"], runtime.clock())
    assert client and [digest for digest, _ in client.secret_digests] == [Secret(information["client_secret"]).digest()]
    assert information["client_secret"] not in str(client.metadata)


def test_a_registered_client_authenticates_with_its_secret(
    http: FlaskClient, post_registration: PostRegistration
) -> None:
    """§3.2.1: the secret in the response."""
    information = post_registration().json
    header = base64.b64encode(f"{information['client_id']}:{information['client_secret']}".encode()).decode()
    form = {"token": "any"}

    assert http.post("/oauth/introspect", data=form, headers={"Authorization": f"Basic {header}"}).status_code == 200
    assert http.post("/oauth/introspect", data=form, auth=(information["client_id"], "wrong")).status_code == 401
