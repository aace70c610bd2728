"""The exact responses to refused calls (RFC 6750 §3, RFC 9457, RFC 9728 §5.1)."""

from __future__ import annotations

import base64
import json

import pytest
from joserfc import jwt

from tests.support.app import MakeApp, Register
from tests.support.browser_client import ISSUER, Browser
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import resources
from valetkey.storage.engine.transaction import Transaction

METADATA = f'resource_metadata="{ISSUER}/.well-known/oauth-protected-resource"'


@pytest.fixture
def robot(app: object, ada: Browser, register: Register) -> Browser:
    return Browser(ada.http, register("machine", name="Robot"))


def test_without_a_token_the_challenge_has_no_error(ada: Browser) -> None:
    refused = ada.call()

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == f'Bearer realm="{ISSUER}", scope="profile", {METADATA}'
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json["title"], refused.json["status"]) == ("Unauthorized", 401)
    assert refused.json["detail"] == "an access token is required: send it as Authorization: Bearer TOKEN"
    assert refused.headers["Cache-Control"] == "no-store"


def test_an_invalid_token_gets_401_with_the_error(ada: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        refused = ada.call("bad")

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == (
        f'Bearer realm="{ISSUER}", error="invalid_token", error_description="the access token is unknown", '
        f'scope="profile", {METADATA}'
    )
    assert refused.json["error"] == "invalid_token"
    assert refused.json["reference"]


def test_the_log_says_that_a_refresh_token_was_sent_instead_of_an_access_token(
    ada: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    refresh_token = ada.obtain_tokens()["refresh_token"]

    with caplog.at_level("INFO", "valetkey"):
        refused = ada.call(refresh_token)

    assert (refused.status_code, refused.json["detail"]) == (401, "the access token is unknown")
    assert "the access token is unknown (it is a refresh token)" in caplog.text
    assert refresh_token not in caplog.text


def test_a_missing_scope_gets_403_with_the_name_of_the_scope(robot: Browser) -> None:
    token = robot.request_token("client_credentials", scope="notes:read").json["access_token"]

    refused = robot.call(token)

    assert refused.status_code == 403
    assert refused.headers["WWW-Authenticate"].startswith(f'Bearer realm="{ISSUER}", error="insufficient_scope"')
    assert 'scope="profile"' in refused.headers["WWW-Authenticate"]
    assert refused.json["detail"] == "the access token lacks the scope profile"


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b"])
def test_a_malformed_authorization_header_gets_400(ada: Browser, header: str) -> None:
    refused = ada.http.get("/api/protected", headers={"Authorization": header})

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_request")


def test_an_expired_token_is_refused(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["access_token"]
    clock.forward(seconds=899)
    assert ada.call(token).status_code == 200
    clock.forward(seconds=1)

    refused = ada.call(token)

    assert 'error_description="the access token has expired"' in refused.headers["WWW-Authenticate"]


def encode_part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_forged_and_modified_tokens_are_refused(ada: Browser) -> None:
    """RFC 9068 §4, RFC 8725 §3: other algorithms, no signature, other types, other keys."""
    head, body, signature = ada.obtain_tokens()["access_token"].split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    forged = [
        f"{encode_part({**header, 'alg': 'none'})}.{body}.",
        f"{encode_part({**header, 'alg': 'HS256'})}.{body}.{signature}",
        f"{encode_part({**header, 'alg': 'RS256'})}.{body}.{signature}",
        f"{encode_part({**header, 'typ': 'JWT'})}.{body}.{signature}",
        f"{encode_part({**header, 'typ': 5})}.{body}.{signature}",
        f"{encode_part({**header, 'kid': 'other'})}.{body}.{signature}",
        f"{encode_part({**header, 'crit': ['x']})}.{body}.{signature}",
        f"{encode_part([])}.{body}.{signature}",
        f"{head}.{encode_part({**claims, 'scope': 'profile notes:write'})}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{deep}.{body}.{signature}",
        "..",
        "a.b.c",
    ]

    assert [ada.call(token).status_code for token in forged] == [401] * len(forged)


def test_other_jwts_that_valetkey_signed_are_not_access_tokens(ada: Browser, runtime: Runtime) -> None:
    """RFC 9068 §4: an ID token or a logout token with the same claims is refused."""
    token = ada.obtain_tokens()["access_token"]
    key = runtime.keys.get_signing_key("ES256", runtime.clock())
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    def signed(**header: str) -> str:
        return jwt.encode({"alg": "ES256", "kid": key.kid, **header}, claims, key.key, algorithms=["ES256"])

    assert ada.call(signed(typ="at+jwt")).status_code == 200
    assert [ada.call(other).status_code for other in (signed(typ="JWT"), signed(), signed(typ="logout+jwt"))] == [
        401
    ] * 3


def test_a_key_verifies_its_own_algorithm_only(ada: Browser, runtime: Runtime) -> None:
    """RFC 8725 §3.1: the header does not choose the algorithm; an RSA key could verify both RS256 and PS256."""
    claims = json.loads(base64.urlsafe_b64decode(ada.obtain_tokens()["access_token"].split(".")[1] + "=="))
    key = runtime.keys.get_signing_key("RS256", runtime.clock())

    def signed(alg: str) -> str:
        return jwt.encode({"alg": alg, "kid": key.kid, "typ": "at+jwt"}, claims, key.key, algorithms=[alg])

    assert [ada.call(signed(alg)).status_code for alg in ("RS256", "PS256")] == [200, 401]


def test_a_token_of_another_issuer_with_the_same_keys_is_refused(make_app: MakeApp, store_url: str) -> None:
    """Two issuers on one store, for one resource: RFC 9068 §4."""
    here = make_app(store_url, resource="https://api.example")
    there = make_app(store_url, resource="https://api.example", issuer="http://127.0.0.1:9000")
    client = register_client(
        here.extensions["valetkey"], here.extensions["valetkey"].clock(), name="Robot", policy="machine"
    )
    robots = [Browser(app.test_client(), client) for app in (here, there)]
    token = robots[0].request_token("client_credentials", scope="profile").json["access_token"]

    assert [robot.call(token).status_code for robot in robots] == [200, 401]


def test_a_token_for_another_resource_is_refused(robot: Browser, runtime: Runtime, clock: Clock) -> None:
    """RFC 9700 §4.9, RFC 8707."""
    other = "https://other.example"
    runtime.store.write(Transaction(rows=(resources.upsert(other, {"resource_name": "Other"}, clock()),)))
    elsewhere = robot.request_token("client_credentials", resource=other).json["access_token"]
    both = robot.request_token("client_credentials", resource=[other, ISSUER]).json["access_token"]

    refused = robot.call(elsewhere)

    assert refused.status_code == 401
    assert "for another resource" in refused.headers["WWW-Authenticate"]
    assert robot.call(both).status_code == 200


def test_a_client_credentials_token_has_no_user(make_app: MakeApp, store_url: str) -> None:
    """RFC 9700 §4.15: also if the client id is that of a user."""
    app = make_app(store_url)
    robot = Browser(
        app.test_client(),
        register_client(
            app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="A", policy="machine", client_id="ada"
        ),
    )

    called = robot.call(robot.request_token("client_credentials").json["access_token"])

    assert called.json == {"user": None, "client": "ada"}


def test_refresh_tokens_codes_and_secrets_are_not_access_tokens(ada: Browser) -> None:
    code = ada.obtain_code()
    tokens = ada.redeem(code).json

    for other in (code, tokens["refresh_token"], ada.client.secret.reveal()):
        assert ada.call(other).status_code == 401


def test_the_resource_metadata_is_at_the_url_of_the_challenge(ada: Browser) -> None:
    response = ada.get("/.well-known/oauth-protected-resource")

    assert response.status_code == 200
    assert response.json["resource"] == ISSUER
    assert response.json["authorization_servers"] == [ISSUER]
    assert response.json["bearer_methods_supported"] == ["header"]
    assert response.json["scopes_supported"] == ["notes:read", "notes:write", "profile"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert ada.get("/.well-known/oauth-protected-resource/nothing/here").status_code == 404


def test_the_well_known_part_is_between_host_and_path_of_the_resource(make_app: MakeApp, store_url: str) -> None:
    http = make_app(store_url, resource=f"{ISSUER}/v1").test_client()

    refused = http.get("/api/protected")

    url = f"{ISSUER}/.well-known/oauth-protected-resource/v1"
    assert f'resource_metadata="{url}"' in refused.headers["WWW-Authenticate"]
    assert http.get(url.removeprefix(ISSUER)).json["resource"] == f"{ISSUER}/v1"
