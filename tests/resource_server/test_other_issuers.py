"""Tokens of trusted issuers: which are accepted, which are refused, and that no URL in a token is requested."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.resource_server.fake_issuer import (
    EC_KEY,
    JWKS_PATH,
    OPENID_CONFIGURATION_PATH,
    OTHER_RSA_KEY,
    RESOURCE,
    RSA_KEY,
    FakeIssuer,
)
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import TrustedIssuer


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        yield running


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, issuer.url)


def test_an_issuer_identifier_is_enough_and_the_rest_is_discovered(api: StandaloneApi, issuer: FakeIssuer) -> None:
    response = api.call(issuer.token())

    assert response.json == {"issuer": issuer.url, "user": "maya", "app": "shop"}
    assert issuer.requested_paths == [OPENID_CONFIGURATION_PATH, JWKS_PATH]


def test_a_verified_token_needs_no_request_and_no_second_signature_check(
    api: StandaloneApi, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    assert api.accepts(token)
    monkeypatch.setattr("joserfc.jws.deserialize_compact", None)

    assert api.accepts(token)


def test_metadata_of_rfc_8414_is_used_if_there_is_no_openid_configuration(
    api: StandaloneApi, issuer: FakeIssuer
) -> None:
    issuer.overridden_responses[OPENID_CONFIGURATION_PATH] = (404, {}, {})
    issuer.overridden_responses["/.well-known/oauth-authorization-server"] = (200, issuer.metadata, {})

    assert api.accepts(issuer.token())


def test_metadata_of_an_issuer_with_a_path_is_found_by_the_rule_of_each_specification(clock: Clock) -> None:
    with FakeIssuer(clock, "/realms/shop") as issuer:
        api = StandaloneApi(clock, issuer.url)
        assert api.accepts(issuer.token())
        assert issuer.requested_paths[0] == f"/realms/shop{OPENID_CONFIGURATION_PATH}"
    with FakeIssuer(clock, "/tenant") as issuer:
        issuer.overridden_responses[f"/tenant{OPENID_CONFIGURATION_PATH}"] = (404, {}, {})
        issuer.overridden_responses["/.well-known/oauth-authorization-server/tenant"] = (200, issuer.metadata, {})
        assert StandaloneApi(clock, issuer.url).accepts(issuer.token())


def test_the_challenge_has_the_url_of_the_resource_metadata(api: StandaloneApi, issuer: FakeIssuer) -> None:
    refused = api.call(issuer.token(scope="notes:write"))

    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert f'{RESOURCE}/.well-known/oauth-protected-resource"' in refused.headers["WWW-Authenticate"]
    document = api.app.test_client().get("/.well-known/oauth-protected-resource").json
    assert document == {
        "resource": RESOURCE,
        "resource_name": "api.example.com",
        "authorization_servers": [issuer.url],
        "scopes_supported": ["notes:read", "notes:write"],
        "bearer_methods_supported": ["header"],
    }


def test_the_resource_of_a_route_has_its_own_metadata(api: StandaloneApi, issuer: FakeIssuer) -> None:
    assert api.call(issuer.token(), "/api/files").status_code == 401
    assert api.call(issuer.token(aud=[RESOURCE, "https://files.example.com/v1"]), "/api/files").status_code == 200

    metadata = api.app.test_client().get("/.well-known/oauth-protected-resource/v1").json
    assert metadata is not None
    assert (metadata["resource"], metadata["scopes_supported"]) == ("https://files.example.com/v1", ["notes:read"])
    assert api.app.test_client().get("/.well-known/oauth-protected-resource/v2").status_code == 404


def encoded(part: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(issuer: FakeIssuer) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{encoded(issuer.claims())}."


def hmac_with_the_public_key(issuer: FakeIssuer) -> str:
    signed = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'rsa'})}.{encoded(issuer.claims())}"
    mac = hmac.digest(RSA_KEY.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def with_crit(issuer: FakeIssuer) -> str:
    """Return a correctly signed token whose crit names no extension (RFC 7515 §4.1.11); the JOSE library accepts it."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa", "crit": ["kid"]}
    signed = f"{encoded(header)}.{encoded(issuer.claims())}"
    private = serialization.load_pem_private_key(RSA_KEY.as_pem(private=True), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def own_key_in_the_header(issuer: FakeIssuer) -> str:
    return issuer.token(key=OTHER_RSA_KEY, header={"jwk": OTHER_RSA_KEY.as_dict(private=False), "kid": "rsa"})


def other_claims(issuer: FakeIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{encoded(issuer.claims(sub='root'))}.{signature}"


INVALID_TOKENS: dict[str, Any] = {
    "not signed": unsigned,
    "signed with HMAC by the public key": hmac_with_the_public_key,
    "signed by a key in its header": own_key_in_the_header,
    "signed by another key": lambda issuer: issuer.token(key=OTHER_RSA_KEY, header={"kid": "rsa"}),
    "with another algorithm than its key": lambda issuer: issuer.token(key=EC_KEY, header={"kid": "rsa"}),
    "changed after it was signed": other_claims,
    "with crit": with_crit,
    "expired": lambda issuer: issuer.token(exp=int(issuer.clock()) - 5),
    "without exp": lambda issuer: issuer.token(exp=None),
    "with exp as a string": lambda issuer: issuer.token(exp="2100"),
    "with exp as true": lambda issuer: issuer.token(exp=True),
    "not yet valid": lambda issuer: issuer.token(nbf=int(issuer.clock()) + 60),
    "issued in the future": lambda issuer: issuer.token(iat=int(issuer.clock()) + 60),
    "for another API": lambda issuer: issuer.token(aud="https://other.example.com"),
    "without an audience": lambda issuer: issuer.token(aud=None),
    "with an audience of numbers": lambda issuer: issuer.token(aud=[1, RESOURCE]),
    "for an API whose name begins with ours": lambda issuer: issuer.token(aud=f"{RESOURCE}.evil.example"),
    "without a client": lambda issuer: issuer.token(client_id=None),
    "bound to a key": lambda issuer: issuer.token(cnf={"jkt": "x"}),
    "an ID token by typ": lambda issuer: issuer.token(header={"typ": "JWT"}, nonce="n"),
    "an ID token with at_hash": lambda issuer: issuer.token(header={"typ": None}, at_hash="h"),
    "an ID token of Keycloak": lambda issuer: issuer.token(header={"typ": "JWT"}, typ="ID"),
    "a refresh token of Keycloak": lambda issuer: issuer.token(header={"typ": "JWT"}, typ="Refresh"),
    "an ID token of Cognito": lambda issuer: issuer.token(header={"typ": None}, token_use="id"),
    "a refresh token of Ory Hydra": lambda issuer: issuer.token(header={"typ": None}, token_use="refresh_token"),
    "a refresh token by its token_type": lambda issuer: issuer.token(token_type="refresh"),
    "a JWT without any scope": lambda issuer: issuer.token(header={"typ": "JWT"}, scope=None),
    "a logout token": lambda issuer: issuer.token(header={"typ": "logout+jwt"}),
    "a security event": lambda issuer: issuer.token(header={"typ": "JWT"}, events={}),
    "too long": lambda issuer: issuer.token(padding="x" * 9000),
    "with a huge header": lambda issuer: issuer.token(header={"x": "y" * 5000}),
    "opaque": lambda issuer: "9f8b7c6d5e4f",
    "only dots": lambda issuer: "..",
    "not base64": lambda issuer: "a.b.c",
    "with claims that are not a JSON object": lambda issuer: f"{encoded({'alg': 'RS256'})}.W10.AA",
}


@pytest.mark.parametrize("make_invalid", INVALID_TOKENS.values(), ids=INVALID_TOKENS)
def test_an_invalid_token_is_refused(api: StandaloneApi, issuer: FakeIssuer, make_invalid: Any) -> None:
    assert api.accepts(issuer.token())

    refused = api.call(make_invalid(issuer))

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "JWT", None])
def test_all_types_of_access_tokens_are_accepted(api: StandaloneApi, issuer: FakeIssuer, typ: str | None) -> None:
    assert api.accepts(issuer.token(header={"typ": typ}))


def test_an_access_token_of_keycloak_before_24_can_have_a_nonce(api: StandaloneApi, issuer: FakeIssuer) -> None:
    assert api.accepts(issuer.token(header={"typ": "JWT"}, typ="Bearer", nonce="n"))


def test_clocks_can_differ_by_the_leeway_and_no_more(api: StandaloneApi, issuer: FakeIssuer, clock: Clock) -> None:
    token = issuer.token(exp=int(clock()) + 10)
    clock.forward(14)
    assert api.accepts(token)
    clock.forward(1)
    refused = api.call(token)
    assert (refused.status_code, "expired" in refused.text) == (401, True)


def test_no_url_in_a_token_is_requested(clock: Clock, api: StandaloneApi, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as evil:
        by_iss = evil.token()
        by_header = evil.token(
            iss=issuer.url,
            header={"jku": f"{evil.origin}/jwks", "x5u": f"{evil.origin}/x5u", "kid": "rsa"},
            key=OTHER_RSA_KEY,
        )
        for token in (by_iss, by_header):
            assert api.call(token).status_code == 401
        assert evil.requested_paths == []


@pytest.mark.parametrize("almost", ["{}/", "{}#a", "{}?a=b", " {}"])
def test_the_issuer_must_match_exactly(api: StandaloneApi, issuer: FakeIssuer, almost: str) -> None:
    assert api.call(issuer.token(iss=almost.format(issuer.url))).status_code == 401
    assert issuer.requested_paths == []


def test_a_token_that_cannot_be_valid_causes_no_request(api: StandaloneApi, issuer: FakeIssuer) -> None:
    for claims in ({"exp": 1}, {"aud": None}, {"client_id": None}):
        assert api.call(issuer.token(**claims)).status_code == 401
    for token in (issuer.token(header={"typ": "logout+jwt"}), unsigned(issuer), with_crit(issuer)):
        assert api.call(token).status_code == 401
    assert issuer.requested_paths == []


def test_tokens_of_several_issuers_are_verified_with_the_keys_of_each(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        second.published_keys = [OTHER_RSA_KEY]
        api = StandaloneApi(clock, issuer.url, second.url)

        assert api.call(issuer.token()).json == {"issuer": issuer.url, "user": "maya", "app": "shop"}
        assert api.call(second.token(key=OTHER_RSA_KEY)).json == {"issuer": second.url, "user": "maya", "app": "shop"}
        crossed = issuer.token(key=OTHER_RSA_KEY, iss=issuer.url)
        assert api.call(crossed).status_code == 401


def test_audience_clients_and_algorithms_are_restricted_as_configured(clock: Clock, issuer: FakeIssuer) -> None:
    trusted = TrustedIssuer(issuer.url, audience="account", clients=["shop"], algorithms=["ES256"])
    api = StandaloneApi(clock, trusted)

    assert api.accepts(issuer.token(key=EC_KEY, aud=["account", "x"]))
    assert not api.accepts(issuer.token(key=EC_KEY, aud="x"))
    assert not api.accepts(issuer.token(key=EC_KEY, aud="account", client_id="other"))
    assert not api.accepts(issuer.token(key=RSA_KEY, aud="account"))
    assert api.accepts(issuer.token(key=EC_KEY, aud=None))  # without an audience, the configured clients count


def test_token_types_can_be_restricted_to_at_jwt(clock: Clock, issuer: FakeIssuer) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, token_types="at+jwt"))

    assert api.accepts(issuer.token())
    assert not api.accepts(issuer.token(header={"typ": "JWT"}))


def test_only_the_first_scope_claim_of_a_token_is_used(clock: Clock, issuer: FakeIssuer) -> None:
    api = StandaloneApi(clock, issuer.url)

    token = issuer.token(scope="notes:read", scp=["notes:write"], permissions=["notes:write"])

    assert api.call(token, "/api/any").json == {"scopes": ["notes:read"]}


def test_roles_are_mapped_to_the_configured_scopes(clock: Clock, issuer: FakeIssuer) -> None:
    trusted = TrustedIssuer(
        issuer.url,
        roles={"editor": "notes:read notes:write"},
        role_claims=("realm_access.roles", "https://api.example.com/roles"),
    )
    api = StandaloneApi(clock, trusted)

    deep = issuer.token(scope="openid", realm_access={"roles": ["editor", "admin"]})
    flat = issuer.token(scope="openid", **{"https://api.example.com/roles": ["editor"]})
    none = issuer.token(scope="openid", realm_access="x")

    assert api.call(deep, "/api/any").json == {"scopes": ["notes:read", "notes:write", "openid"]}
    assert api.call(flat, "/api/write").status_code == 200
    assert api.call(none, "/api/any").json == {"scopes": ["openid"]}


def test_the_user_id_function_decides_the_user_id(clock: Clock, issuer: FakeIssuer) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, user_id=lambda claims: f"shop|{claims['email']}"))

    body = api.call(issuer.token(email="maya@example.com")).json
    assert body is not None
    assert body["user"] == "shop|maya@example.com"
    assert api.call(issuer.token()).status_code == 401  # without the claim that the function needs


@pytest.mark.parametrize("user_id", ["", None, False, 0], ids=repr)
def test_a_user_id_function_that_returns_nothing_means_that_there_is_no_user(
    clock: Clock, issuer: FakeIssuer, user_id: Any
) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, user_id=lambda claims: user_id))

    assert api.call(issuer.token()).json == {"issuer": issuer.url, "user": None, "app": "shop"}


@pytest.mark.parametrize("groups", [None, [], [5], 5, "x"], ids=str)
def test_a_token_whose_claims_the_user_id_function_cannot_read_is_refused(
    clock: Clock, issuer: FakeIssuer, groups: Any
) -> None:
    """The function is called before the signature is verified: anybody can send such a token."""
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, user_id=lambda claims: claims["groups"][0].removesuffix("x")))

    expected = 401 if groups != "x" else 200
    assert api.call(issuer.token(groups=groups)).status_code == expected


def test_each_issuer_has_separate_limits_for_its_clients_and_users(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        api = StandaloneApi(clock, issuer.url, second.url)
        for _ in range(2):
            assert api.call(issuer.token(), "/api/any").status_code == 200

        limited = api.call(issuer.token(jti="2"), "/api/any")

        assert (limited.status_code, "Retry-After" in limited.headers) == (429, True)
        assert api.call(second.token(), "/api/any").status_code == 200  # the same ids are other clients and users


def test_processes_can_share_limits_through_a_file(clock: Clock, issuer: FakeIssuer, tmp_path: Any) -> None:
    first, second = (StandaloneApi(clock, issuer.url, data_dir=str(tmp_path)) for _ in range(2))

    statuses = [api.call(issuer.token(), "/api/any").status_code for api in (first, second, first, second)]

    assert statuses == [200, 200, 429, 429]
