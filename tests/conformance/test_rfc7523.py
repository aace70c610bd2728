"""RFC 7523 and RFC 7521: client authentication by a signed assertion; OpenID Connect Core §9: ``private_key_jwt``."""

from __future__ import annotations

import base64
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey

from tests.conformance.client_website import ClientWebsite
from tests.conformance.registration import both_stores
from tests.support.browser_client import CALLBACK, ISSUER, Browser
from tests.support.clock import Clock
from tests.support.private_key_client import (
    CLIENT_ASSERTION_TYPE,
    EC_KEY,
    ED25519_KEY,
    JWKS,
    RSA_KEY,
    PrivateKeyClient,
    sign_jws,
)
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients

TOKEN_ENDPOINT = "http://127.0.0.1:8000/oauth/token"
UNREGISTERED_KEY = ECKey.generate_key("P-256", {"kid": "ec"})


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """Use SQLite unless the test is parametrized with a store."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


@pytest.fixture
def client(app: Flask, runtime: Runtime, clock: Clock) -> PrivateKeyClient:
    created = register_client(
        runtime,
        runtime.clock(),
        name="Service",
        policy="machine",
        auth_method="private_key_jwt",
        members={"jwks": JWKS},
    )
    assert created.secret is None
    return PrivateKeyClient(app.test_client(), created.client_id, clock)


@pytest.fixture
def expect_invalid_client(client: PrivateKeyClient, runtime: Runtime) -> Callable[..., None]:
    """Send an assertion that must be refused with invalid_client and leave the store unchanged."""

    def check(assertion: str, **parameters: Any) -> None:
        with assert_store_unchanged(runtime):
            response = client.send(assertion, **parameters)
        assert (response.status_code, response.json["error"]) == (401, "invalid_client"), response.text
        assert response.headers["WWW-Authenticate"]

    return check


@both_stores
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_an_assertion_authenticates_the_client_at_every_endpoint(client: PrivateKeyClient, path: str) -> None:
    """RFC 7521 §4.2: client_id is optional, because the subject identifies the client."""
    assert client.send(client.sign(), path).status_code == 200
    assert client.send(client.sign(), path, client_id=client.client_id).status_code == 200


@pytest.mark.parametrize(
    ("key", "alg"),
    [(EC_KEY, "ES256"), (RSA_KEY, "RS256"), (RSA_KEY, "PS256"), (ED25519_KEY, "EdDSA"), (ED25519_KEY, "Ed25519")],
    ids=["ES256", "RS256", "PS256", "EdDSA", "Ed25519"],
)
def test_every_advertised_algorithm_is_accepted(client: PrivateKeyClient, key: Any, alg: str) -> None:
    """§5: RS256 at least; RFC 8414 §2: token_endpoint_auth_signing_alg_values_supported."""
    metadata = client.http.get("/.well-known/oauth-authorization-server").json

    assert alg in metadata["token_endpoint_auth_signing_alg_values_supported"]
    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]
    assert client.send(client.sign(key, alg)).status_code == 200


@pytest.mark.parametrize("aud", [ISSUER, TOKEN_ENDPOINT, [ISSUER], [ISSUER, TOKEN_ENDPOINT]], ids=str)
def test_the_audience_is_the_issuer_or_the_token_endpoint(client: PrivateKeyClient, aud: Any) -> None:
    """RFC 7523 §3, 3."""
    assert client.send(client.sign(aud=aud)).status_code == 200


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "",
        [],
        "https://other.example",
        [ISSUER, "https://other.example"],
        f"{ISSUER}/",
        f"{ISSUER}/oauth/introspect",
        {"a": ISSUER},
        [[ISSUER]],
        5,
    ],
    ids=str,
)
def test_an_assertion_with_another_audience_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], aud: Any
) -> None:
    """RFC 7523 §3, 3: MUST reject; otherwise another server could replay it here (RFC 9700 §2.5)."""
    expect_invalid_client(client.sign(aud=aud))


@pytest.mark.parametrize("name", ["iss", "sub", "exp", "jti"])
@pytest.mark.parametrize("value", [None, "", "another", 5, [], {}, True], ids=str)
def test_a_missing_or_wrong_required_claim_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], name: str, value: Any
) -> None:
    """RFC 7523 §3, 1, 2, 4; OpenID Connect Core §9: jti is REQUIRED."""
    if (name, value) != ("jti", "another"):  # a jti may be any text
        expect_invalid_client(client.sign(**{name: value}))


@pytest.mark.parametrize(
    "times",
    [
        {"exp": -10},
        {"exp": -6},
        {"exp": 3631},
        {"exp": 10**9},
        {"exp": 1e300},
        {"nbf": 31},
        {"iat": 31},
        {"iat": -3601},
        {"nbf": "now"},
        {"iat": "now"},
    ],
    ids=str,
)
def test_an_assertion_outside_its_validity_period_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], clock: Clock, times: dict[str, Any]
) -> None:
    """RFC 7523 §3, 4-6: MUST reject after exp and before nbf, MAY reject an exp or iat that is far away."""
    now = int(clock())
    expect_invalid_client(
        client.sign(**{name: value if isinstance(value, str) else now + value for name, value in times.items()})
    )


def test_a_few_seconds_of_clock_skew_are_accepted(client: PrivateKeyClient, clock: Clock) -> None:
    """RFC 7523 §3, 4."""
    now = int(clock())

    assert client.send(client.sign(nbf=now + 10, iat=now + 10)).status_code == 200
    assert client.send(client.sign(exp=now - 3)).status_code == 200
    assert client.send(client.sign(exp=now + 3610, iat=now + 10)).status_code == 200
    assert client.send(client.sign(iat=None)).status_code == 200


@both_stores
def test_an_assertion_is_accepted_once(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], runtime: Runtime
) -> None:
    """RFC 7523 §3, 7: at any endpoint, and even if another assertion has the same jti."""
    first = client.sign(jti="same")
    assert client.send(first).status_code == 200
    assert count_rows(runtime.store, "valetkey_assertions") == 1

    expect_invalid_client(first)
    expect_invalid_client(first, path="/oauth/introspect")
    expect_invalid_client(client.sign(jti="same"))


def test_two_clients_may_use_the_same_jti(app: Flask, client: PrivateKeyClient, runtime: Runtime, clock: Clock) -> None:
    """§3, item 7."""
    created = register_client(
        runtime, runtime.clock(), name="Other", policy="machine", auth_method="private_key_jwt", members={"jwks": JWKS}
    )
    other = PrivateKeyClient(app.test_client(), created.client_id, clock)

    assert client.send(client.sign(jti="same")).status_code == 200
    assert other.send(other.sign(jti="same")).status_code == 200


def test_a_refused_assertion_does_not_use_up_its_jti(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None]
) -> None:
    """Without the client's key, an attacker cannot make its assertions fail."""
    expect_invalid_client(client.sign(UNREGISTERED_KEY, jti="same"))

    assert client.send(client.sign(jti="same")).status_code == 200


def test_used_assertions_are_deleted_after_they_expired(
    client: PrivateKeyClient, runtime: Runtime, clock: Clock
) -> None:
    """§3, item 7: the jti is stored as long as the assertion would be accepted."""
    from valetkey.outbound.pruning import prune

    assert client.send(client.sign()).status_code == 200
    prune(runtime.store, clock())
    assert count_rows(runtime.store, "valetkey_assertions") == 1
    clock.forward(seconds=200)
    prune(runtime.store, clock())
    assert count_rows(runtime.store, "valetkey_assertions") == 0


def test_an_assertion_with_an_invalid_signature_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None]
) -> None:
    """RFC 7523 §3, 9: the signature MUST be valid."""
    assertion = client.sign()
    header, claims, signature = assertion.split(".")
    other_claims = base64.urlsafe_b64encode(json.dumps(client.claims(iss="x")).encode()).rstrip(b"=").decode()

    expect_invalid_client(client.sign(UNREGISTERED_KEY))
    expect_invalid_client(f"{header}.{other_claims}.{signature}")
    expect_invalid_client(f"{header}.{claims}.")
    expect_invalid_client(f"{header}.{claims}.AAAA")


def test_the_algorithm_none_and_an_hmac_with_the_public_key_are_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None]
) -> None:
    """RFC 8725 §3.1, §3.2."""
    encode = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731

    for alg in ("none", "None", "NONE", ""):
        expect_invalid_client(f"{encode({'alg': alg})}.{encode(client.claims())}.")
    payload = json.dumps(client.claims()).encode()
    signing_input = f"{encode({'alg': 'HS256', 'kid': 'rsa'})}.{encode(client.claims())}"
    mac = hmac.digest(RSA_KEY.as_pem(private=False), signing_input.encode(), "sha256")
    expect_invalid_client(f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    expect_invalid_client(sign_jws({"alg": "RS512", "kid": "rsa"}, payload, RSA_KEY))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": UNREGISTERED_KEY.as_dict(private=False)},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["b64"], "b64": True},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"typ": ["JWT"]},
        {"kid": "unknown"},
        {"kid": 5},
        {"kid": ["ec"]},
    ],
    ids=lambda header: str(header)[:30],  # must be the same in each process, and the key is random
)
def test_a_header_with_foreign_keys_extensions_or_another_type_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], header: dict[str, Any]
) -> None:
    """RFC 8725 §3.8-§3.11, RFC 7515 §4.1.11; each is signed with the client's own key."""
    expect_invalid_client(sign_any_header({"alg": "ES256", "kid": "ec", **header}, client.claims()))


def sign_any_header(header: dict[str, Any], claims: Any) -> str:
    """Return a JWS with a valid ES256 signature and any header, also one that joserfc would not sign."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    signing_input = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(EC_KEY.private_key.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signing_input}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "client-authentication+jwt"])
def test_the_header_types_of_assertions_are_accepted(client: PrivateKeyClient, typ: str) -> None:
    """RFC 8725 §3.11."""
    header = {"alg": "ES256", "kid": "ec", "typ": typ}
    assert client.send(sign_any_header(header, client.claims())).status_code == 200


@pytest.mark.parametrize(
    "assertion",
    [
        "x",
        "a.b",
        "a.b.c",
        "..",
        "eyJhbGciOiJFUzI1NiJ9.W10.x",
        "eyJhbGciOiJFUzI1NiJ9.bnVsbA.x",
        "eyJhbGciOiJFUzI1NiJ9." + "A" * 9000 + ".x",
        "W10.e30.x",
        "é.é.é",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJcdWQ4MDAifQ.x",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJcdTAwMDAifQ.x",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOltdfQ.x",
    ],
    ids=lambda text: text[:30],
)
def test_a_malformed_assertion_is_refused(expect_invalid_client: Callable[..., None], assertion: str) -> None:
    """§3, §3.2."""
    expect_invalid_client(assertion)


@pytest.mark.parametrize("header", [["alg"], {"alg": ["ES256"]}, {"alg": {}, "kid": []}, {"alg": "ES256", "kid": {}}])
def test_a_malformed_header_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None], header: Any
) -> None:
    """§3.2."""
    parts = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, client.claims()))
    expect_invalid_client(".".join([*parts, "c2ln"]))


def test_an_assertion_over_the_maximum_size_is_refused(
    client: PrivateKeyClient, expect_invalid_client: Callable[..., None]
) -> None:
    """No legitimate assertion is that long."""
    assert client.send(client.sign(padding="x" * 5000)).status_code == 200
    expect_invalid_client(client.sign(padding="x" * 7000))


def test_a_client_id_other_than_the_subject_is_refused(client: PrivateKeyClient, runtime: Runtime) -> None:
    """RFC 7521 §4.2: client_id MUST identify the same client."""
    with assert_store_unchanged(runtime):
        response = client.send(client.sign(), client_id="another")

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_an_assertion_requires_its_type(client: PrivateKeyClient, expect_invalid_client: Callable[..., None]) -> None:
    """RFC 7521 §4.2."""
    expect_invalid_client(client.sign(), client_assertion_type=None)
    expect_invalid_client(
        client.sign(), client_assertion_type="urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    )
    assert client.send("", client_id=client.client_id).status_code == 401


def test_two_authentication_methods_at_once_are_refused(client: PrivateKeyClient, runtime: Runtime) -> None:
    """RFC 6749 §2.3."""
    parameters = {
        "grant_type": "client_credentials",
        "client_assertion_type": CLIENT_ASSERTION_TYPE,
        "client_assertion": client.sign(),
    }
    with assert_store_unchanged(runtime):
        in_form = client.http.post("/oauth/token", data={**parameters, "client_secret": "x"})
        by_basic = client.http.post("/oauth/token", data=parameters, auth=(client.client_id, "x"))

    assert (in_form.status_code, by_basic.status_code) == (400, 400)


def test_a_client_with_private_key_jwt_cannot_authenticate_with_another_method(
    client: PrivateKeyClient, runtime: Runtime
) -> None:
    """RFC 7591 §2: only the registered method is accepted."""
    parameters = {"grant_type": "client_credentials"}
    runtime.store.write_all(
        clients.add_secret(client.client_id, Secret("x").digest(), 0)
    )  # as if left from an earlier method
    with assert_store_unchanged(runtime):
        public = client.http.post("/oauth/token", data={**parameters, "client_id": client.client_id})
        secret = client.http.post("/oauth/token", data=parameters, auth=(client.client_id, "x"))

    assert (public.status_code, secret.status_code) == (401, 401)


def test_a_client_with_another_method_cannot_authenticate_with_an_assertion(
    app: Flask, runtime: Runtime, clock: Clock
) -> None:
    for policy, uris in (("machine", ()), ("browser", (CALLBACK,))):
        created = register_client(
            runtime, runtime.clock(), name="Other", policy=policy, redirect_uris=uris, members={"jwks": JWKS}
        )
        other = PrivateKeyClient(app.test_client(), created.client_id, clock)
        assert other.send(other.sign()).status_code == 401


def test_only_the_registered_algorithm_is_accepted(app: Flask, runtime: Runtime, clock: Clock) -> None:
    """OpenID Connect Dynamic Client Registration §2: assertions MUST be signed with it."""
    members = {"jwks": JWKS, "token_endpoint_auth_signing_alg": "RS256"}
    created = register_client(
        runtime, runtime.clock(), name="R", policy="machine", auth_method="private_key_jwt", members=members
    )
    client = PrivateKeyClient(app.test_client(), created.client_id, clock)

    assert client.send(client.sign()).status_code == 401
    assert client.send(client.sign(RSA_KEY, "RS256")).status_code == 200


def test_keys_are_read_from_jwks_uri_and_may_rotate(
    app: Flask, runtime: Runtime, clock: Clock, website: ClientWebsite
) -> None:
    """OpenID Connect Core §10.1.1."""
    url = website.publish("/jwks", {"keys": [EC_KEY.as_dict(private=False)]}, Cache_Control="max-age=300")
    created = register_client(
        runtime, runtime.clock(), name="R", policy="machine", auth_method="private_key_jwt", members={"jwks_uri": url}
    )
    client = PrivateKeyClient(app.test_client(), created.client_id, clock)

    assert client.send(client.sign()).status_code == 200
    assert client.send(client.sign()).status_code == 200
    assert website.requested_paths == ["/jwks"], "once"
    website.publish("/jwks", {"keys": [ED25519_KEY.as_dict(private=False)]})
    clock.forward(seconds=61)
    assert client.send(client.sign(ED25519_KEY, "EdDSA")).status_code == 200
    assert client.send(client.sign()).status_code == 401


def test_an_unknown_key_id_reloads_the_keys_at_most_every_ten_seconds(
    app: Flask, runtime: Runtime, clock: Clock, website: ClientWebsite
) -> None:
    """OpenID Connect Core §10.1.1; invented key ids cause no more fetches than that."""
    url = website.publish("/jwks", {"keys": [EC_KEY.as_dict(private=False)]}, Cache_Control="max-age=300")
    created = register_client(
        runtime, runtime.clock(), name="R", policy="machine", auth_method="private_key_jwt", members={"jwks_uri": url}
    )
    client = PrivateKeyClient(app.test_client(), created.client_id, clock)
    assert client.send(client.sign()).status_code == 200
    website.publish("/jwks", {"keys": [ED25519_KEY.as_dict(private=False)]}, Cache_Control="max-age=300")

    clock.forward(seconds=9)
    assert client.send(client.sign(ED25519_KEY, "EdDSA")).status_code == 401
    assert website.requested_paths == ["/jwks"]
    clock.forward(seconds=2)
    assert client.send(client.sign(ED25519_KEY, "EdDSA")).status_code == 200
    assert website.requested_paths == ["/jwks", "/jwks"]


def test_a_client_whose_jwks_uri_is_unavailable_is_refused(
    app: Flask, runtime: Runtime, clock: Clock, website: ClientWebsite
) -> None:
    """§3.2."""
    members = {"jwks_uri": website.url("/nothing")}
    created = register_client(
        runtime, runtime.clock(), name="R", policy="machine", auth_method="private_key_jwt", members=members
    )
    client = PrivateKeyClient(app.test_client(), created.client_id, clock)

    assert client.send(client.sign()).status_code == 401


def test_private_key_jwt_cannot_be_registered_without_keys(runtime: Runtime) -> None:
    with pytest.raises(RegistrationRefused, match="jwks"):
        register_client(runtime, runtime.clock(), name="R", policy="machine", auth_method="private_key_jwt")


def test_a_retried_refresh_gets_the_same_response_although_its_assertion_is_new(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    """A retry has a new assertion but counts as the same request."""
    created = register_client(
        runtime,
        runtime.clock(),
        name="Shop",
        policy="web",
        auth_method="private_key_jwt",
        redirect_uris=[CALLBACK],
        members={"jwks": JWKS},
    )
    client = PrivateKeyClient(ada.http, created.client_id, clock)
    ada.client = CreatedClient(created.client_id, None)
    tokens = client.send(
        client.sign(),
        grant_type="authorization_code",
        code=ada.obtain_code(),
        code_verifier="v" * 43,
        redirect_uri=CALLBACK,
    ).json
    refresh = lambda: client.send(  # noqa: E731
        client.sign(), grant_type="refresh_token", refresh_token=tokens["refresh_token"]
    )

    first, second = refresh(), refresh()

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json == second.json


def test_failed_assertions_are_limited_like_failed_secrets(make_app: Any, sqlite_store_url: str, clock: Clock) -> None:
    app = make_app(sqlite_store_url, client_authentication_limit="2/minute burst 2")
    created = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="R",
        policy="machine",
        auth_method="private_key_jwt",
        members={"jwks": JWKS},
    )
    client = PrivateKeyClient(app.test_client(), created.client_id, clock)

    assert [client.send(client.sign(UNREGISTERED_KEY)).status_code for _ in range(3)] == [401, 401, 429]
