"""RFC 7591: OAuth 2.0 Dynamic Client Registration Protocol."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.registration import ExpectRefusal, PostRegistration, both_stores
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.authorization_server.clients.service import CreatedClient, enable_client
from valetkey.protocol.secret import INITIAL_ACCESS_TOKEN, REGISTRATION_ACCESS_TOKEN, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients

LOOPBACK = "http://127.0.0.1:4321/callback"
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """SQLite, but where what is tested is the store's work."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


def registered(answer: Any) -> CreatedClient:
    secret = answer.json.get("client_secret")
    return CreatedClient(answer.json["client_id"], Secret(secret) if secret else None)


@both_stores
def test_a_registered_client_gets_tokens_at_once(ada: Browser, enrol: PostRegistration) -> None:
    """§3.2.1."""
    ada.client = registered(enrol(client_name="Newcomer"))

    assert ada.call(ada.obtain_tokens()["access_token"]).status_code == 200


def test_the_answer_is_201_with_the_client_information_not_to_be_stored(enrol: PostRegistration, clock: Clock) -> None:
    """§3.2.1: client_id REQUIRED; client_secret_expires_at REQUIRED where there is a secret, 0: never."""
    answer = enrol(client_name="Shop")

    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"
    assert answer.json["client_id_issued_at"] == int(clock())
    assert answer.json["client_secret"] and answer.json["client_secret_expires_at"] == 0


def test_a_public_client_gets_no_secret(enrol: PostRegistration) -> None:
    """§3.2.1: client_secret."""
    answer = enrol(token_endpoint_auth_method="none")

    assert not {"client_secret", "client_secret_expires_at"} & answer.json.keys()


def test_client_ids_and_secrets_are_of_one_client_only(enrol: PostRegistration) -> None:
    """§3.2.1: client_id is unique; §2.3: instances of one software get different ones."""
    answers = [enrol(software_id="same").json for _ in range(3)]

    for name in ("client_id", "client_secret", "registration_access_token"):
        assert len({answer[name] for answer in answers}) == 3


def test_left_out_members_get_the_defaults_of_the_specification(enrol: PostRegistration) -> None:
    """§2: authorization_code, code and client_secret_basic; §3.2.1: all that is registered is told."""
    told = enrol().json

    assert told["grant_types"] == ["authorization_code"]
    assert told["response_types"] == ["code"]
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["redirect_uris"] == [CALLBACK]


@both_stores
def test_registered_members_are_told_as_they_were_sent(enrol: PostRegistration) -> None:
    """§3.2.1."""
    sent = {
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

    told = enrol(**sent).json

    assert {name: told[name] for name in sent} == sent


def test_members_that_are_not_known_are_ignored(enrol: PostRegistration) -> None:
    """§2: MUST ignore what it does not understand; a software statement MAY be (§3.1.1)."""
    answer = enrol(flavour="violet", software_statement="eyJ.eyJ.x", **{"client_name#not a language!": "x"})

    assert answer.status_code == 201
    assert not {"flavour", "software_statement", "client_name#not a language!"} & answer.json.keys()


def test_a_client_cannot_choose_what_the_server_issues(enrol: PostRegistration) -> None:
    """§3.2.1."""
    assert "default_resource" not in enrol(default_resource="https://other.example/").json
    answer = enrol(client_id="root", client_secret="chosen", registration_access_token="chosen", policy="machine")

    assert answer.json["client_id"] != "root"
    assert "chosen" not in answer.text


def test_null_and_empty_members_count_as_left_out(enrol: PostRegistration) -> None:
    """RFC 7592 §2.2."""
    assert "client_uri" not in enrol(client_uri="", logo_uri=None).json


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
def test_a_redirect_uri_that_cannot_be_trusted_is_refused(refuse: ExpectRefusal, uri: Any) -> None:
    """§2, §5; invalid_redirect_uri (§3.2.2)."""
    refuse("invalid_redirect_uri", redirect_uris=[CALLBACK, uri])
    refuse("invalid_redirect_uri", redirect_uris=[uri], token_endpoint_auth_method="none", application_type="native")


@pytest.mark.parametrize("uris", [[], None, CALLBACK, {"a": CALLBACK}, [f"{CALLBACK}/{n}" for n in range(33)]])
def test_redirect_uris_are_an_array_of_some(refuse: ExpectRefusal, uris: Any) -> None:
    """§2: clients of a grant with a redirection MUST register their redirect URIs."""
    refuse("invalid_redirect_uri", redirect_uris=uris)


def test_private_use_schemes_are_for_native_apps_and_have_a_dot(enrol: PostRegistration, refuse: ExpectRefusal) -> None:
    """RFC 8252 §7.1."""
    native = {"token_endpoint_auth_method": "none", "application_type": "native"}

    assert enrol(redirect_uris=["com.example.app:/back"], **native).status_code == 201
    refuse("invalid_redirect_uri", redirect_uris=["exampleapp:/back"], **native)
    refuse("invalid_redirect_uri", redirect_uris=["com.example.app:/back"])


@pytest.mark.parametrize(
    ("wrong", "value"),
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
def test_metadata_that_cannot_be_used_is_refused(refuse: ExpectRefusal, wrong: str, value: Any) -> None:
    """§3.2.2: invalid_client_metadata."""
    refuse("invalid_client_metadata", **{wrong: value})


def test_jwks_and_jwks_uri_exclude_each_other(refuse: ExpectRefusal) -> None:
    """§2: MUST NOT both be present."""
    key = {"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}
    refuse("invalid_client_metadata", jwks={"keys": [key]}, jwks_uri="https://shop.example/jwks")


def test_private_key_jwt_needs_keys(refuse: ExpectRefusal) -> None:
    """§2: jwks, jwks_uri."""
    refuse("invalid_client_metadata", token_endpoint_auth_method="private_key_jwt")


def test_grant_and_response_types_must_fit(refuse: ExpectRefusal) -> None:
    """§2.1: a server SHOULD refuse what contradicts itself."""
    refuse("invalid_client_metadata", grant_types=["authorization_code"], response_types=[])


def test_of_grant_and_response_types_those_that_are_served_are_registered(enrol: PostRegistration) -> None:
    """§3.2.1: the server MAY replace values, and tells what it registered."""
    told = enrol(
        grant_types=["authorization_code", "implicit", "urn:example:other"], response_types=["code", "token"]
    ).json

    assert (told["grant_types"], told["response_types"]) == (["authorization_code"], ["code"])


def test_a_scope_is_registered_as_far_as_it_is_known_and_is_the_usual_one(
    ada: Browser, enrol: PostRegistration
) -> None:
    """Nobody vouched for the client, which could register again with more: it may ask for more (a step-up)."""
    answer = enrol(scope="profile unknown")
    assert answer.json["scope"] == "profile"
    ada.client = registered(answer)

    assert "/oauth/consent/" in ada.authorize(scope="notes:write").location


def test_whom_nobody_vouched_for_does_not_act_for_itself(refuse: ExpectRefusal, enrol: PostRegistration) -> None:
    """§5: registered by anybody, a client must not get at data that no person gave it."""
    refuse("invalid_client_metadata", grant_types=["client_credentials"], redirect_uris=None)

    both = enrol(grant_types=["authorization_code", "client_credentials"])
    assert both.json["grant_types"] == ["authorization_code"]


@pytest.mark.parametrize(
    ("sent", "policy"),
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
def test_the_policy_follows_from_what_the_client_says(
    runtime: Runtime, enrol: PostRegistration, sent: dict[str, Any], policy: str
) -> None:
    made = clients.find(runtime.store, enrol(**sent).json["client_id"], runtime.clock())

    assert made and made.policy.name == policy


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
def test_only_a_json_object_of_bounded_size_is_read(
    http: FlaskClient, runtime: Runtime, body: bytes, content_type: str, status: int
) -> None:
    """§3.1: an application/json POST whose body is an object."""
    with assert_store_unchanged(runtime):
        answer = http.post("/oauth/register", data=body, content_type=content_type)

    assert (answer.status_code, answer.content_type) == (status, "application/json")
    assert answer.json["error"] == "invalid_request"


def test_only_post_is_answered(http: FlaskClient) -> None:
    """§3."""
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        refused = http.open("/oauth/register", method=method, content_type="application/json", data=b"{}")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_a_page_of_any_origin_may_register_its_client(http: FlaskClient, enrol: PostRegistration) -> None:
    """§3: open registration, from a script too."""
    asked = http.options("/oauth/register/client")

    assert "PUT" in asked.headers["Access-Control-Allow-Methods"]
    assert enrol().headers["Access-Control-Allow-Origin"] == "*"


def test_registration_is_closed_in_production_until_the_operator_opens_it(make_app: MakeApp, store_url: str) -> None:
    """§3: an open registration endpoint is a choice."""
    app = make_app(store_url, issuer="https://notes.example")
    http = app.test_client()

    refused = http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="register"'
    assert "registration_endpoint" not in http.get(METADATA).json
    assert count_rows(app.extensions["valetkey"].store, "valetkey_clients") == 0


def test_the_endpoint_is_advertised_where_it_is_open(http: FlaskClient) -> None:
    """RFC 8414 §2."""
    for path in (METADATA, "/.well-known/openid-configuration"):
        assert http.get(path).json["registration_endpoint"] == "http://127.0.0.1:8000/oauth/register"


@both_stores
def test_an_initial_access_token_opens_it_under_the_policy_that_it_names(make_app: MakeApp, store_url: str) -> None:
    """§3: initial access token; once it is used up, it opens nothing."""
    app = make_app(store_url, issuer="https://notes.example")
    runtime: Runtime = app.extensions["valetkey"]
    token = create_initial_access_token(runtime, policy="machine", lifetime_s=60, max_uses=2)
    send = lambda: app.test_client().post(  # noqa: E731
        "/oauth/register", json={}, headers={"Authorization": f"Bearer {token.reveal()}"}
    )

    answers = [send() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 401]
    assert answers[2].json["error"] == "invalid_token"
    assert 'error="invalid_token"' in answers[2].headers["WWW-Authenticate"]
    made = clients.find(runtime.store, answers[0].json["client_id"], runtime.clock())
    assert made and made.policy.name == "machine" and made.disabled_at is None
    assert answers[0].json["grant_types"] == ["client_credentials"]


@both_stores
def test_an_initial_access_token_that_lost_the_race_registers_nothing(
    make_app: MakeApp, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§3."""
    app = make_app(store_url)
    runtime: Runtime = app.extensions["valetkey"]
    token = create_initial_access_token(runtime, policy="web", lifetime_s=60, max_uses=1)
    found = registrations_found(runtime, token)
    monkeypatch.setattr("valetkey.storage.registrations.find_initial_access_token", lambda *_: found)
    send = lambda: app.test_client().post(  # noqa: E731
        "/oauth/register", json={"redirect_uris": [CALLBACK]}, headers={"Authorization": f"Bearer {token.reveal()}"}
    )
    assert send().status_code == 201

    with assert_store_unchanged(runtime):
        assert send().status_code == 401


def registrations_found(runtime: Runtime, token: Secret) -> Any:
    from valetkey.storage import registrations

    return registrations.find_initial_access_token(runtime.store, token.digest(), runtime.clock())


@both_stores
def test_an_initial_access_token_expires(enrol: PostRegistration, runtime: Runtime, clock: Clock) -> None:
    """§1.2, §3."""
    token = create_initial_access_token(runtime, policy="web", lifetime_s=60, max_uses=1).reveal()
    clock.forward(seconds=61)

    with assert_store_unchanged(runtime):
        assert enrol(token).status_code == 401


def test_a_token_that_is_no_initial_access_token_is_refused_even_where_all_may_register(
    enrol: PostRegistration, runtime: Runtime, ada: Browser
) -> None:
    """§3."""
    own = enrol().json["registration_access_token"]
    access = ada.obtain_tokens()["access_token"]
    made_up = [generate_secret(INITIAL_ACCESS_TOKEN).reveal(), generate_secret(REGISTRATION_ACCESS_TOKEN).reveal(), "x"]

    with assert_store_unchanged(runtime):
        for token in (own, access, *made_up):
            assert enrol(token).status_code == 401


def test_an_initial_access_token_is_no_access_token(http: FlaskClient, runtime: Runtime) -> None:
    """§1.2."""
    token = create_initial_access_token(runtime, policy="web", lifetime_s=60, max_uses=1).reveal()

    for path in ("/api/protected", "/oauth/userinfo"):
        assert http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 401


@both_stores
def test_where_the_operator_approves_a_client_waits_until_then(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()
    answer = http.post("/oauth/register", json={"grant_types": ["client_credentials"]})
    made = registered(answer)
    robot = Browser(http, made)

    assert answer.status_code == 201
    assert robot.request_token("client_credentials").status_code == 401
    assert http.get("/oauth/authorize", query_string={"client_id": made.client_id}).status_code == 400
    waiting = clients.find(runtime.store, made.client_id, runtime.clock())
    assert waiting
    enable_client(runtime, waiting)
    assert robot.request_token("client_credentials").status_code == 200


def test_who_has_an_initial_access_token_need_not_wait(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_policy="approve")
    token = create_initial_access_token(
        app.extensions["valetkey"], policy="machine", lifetime_s=60, max_uses=1
    ).reveal()
    http = app.test_client()

    answer = http.post("/oauth/register", json={}, headers={"Authorization": f"Bearer {token}"})

    assert Browser(http, registered(answer)).request_token("client_credentials").status_code == 200


def test_the_operator_may_choose_the_policy_of_all(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_profile="oidc-compat")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()

    made = http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
    public = http.post("/oauth/register", json={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"})

    found = clients.find(runtime.store, made.json["client_id"], runtime.clock())
    assert found and found.policy.name == "oidc-compat"
    assert public.json["error"] == "invalid_client_metadata"


def test_registrations_are_limited_by_network(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    """§5: a denial of service by registrations."""
    http = make_app(store_url, registration_limit="2/minute burst 2").test_client()
    send = lambda: http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})  # noqa: E731

    answers = [send() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert int(answers[2].headers["Retry-After"]) >= 1
    clock.forward(seconds=60)
    assert send().status_code == 201


@both_stores
def test_the_secret_is_kept_as_a_digest_only(enrol: PostRegistration, runtime: Runtime) -> None:
    answer = enrol().json

    found = clients.find(runtime.store, answer["client_id"], runtime.clock())
    assert found and [digest for digest, _ in found.secret_digests] == [Secret(answer["client_secret"]).digest()]
    assert answer["client_secret"] not in str(found.metadata)


def test_a_registered_client_proves_itself_as_any_other(http: FlaskClient, enrol: PostRegistration) -> None:
    """§3.2.1: the secret that was told is the one that counts."""
    answer = enrol().json
    header = base64.b64encode(f"{answer['client_id']}:{answer['client_secret']}".encode()).decode()
    sent = {"token": "any"}

    assert http.post("/oauth/introspect", data=sent, headers={"Authorization": f"Basic {header}"}).status_code == 200
    assert http.post("/oauth/introspect", data=sent, auth=(answer["client_id"], "wrong")).status_code == 401
