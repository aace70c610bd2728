"""RFC 9068: JWT Profile for OAuth 2.0 Access Tokens."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.conformance.relying_party import ADA_CLAIMS, MakeRelyingParty, RelyingParty, register_resource
from tests.support.browser_client import ISSUER
from tests.support.clock import Clock

NOTES = "https://notes.example"


def decode_header(token: str) -> dict[str, Any]:
    header = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))))


def test_the_header_has_type_algorithm_and_key_id(rp: RelyingParty) -> None:
    """§2.1: at+jwt; signed, never none."""
    header = decode_header(rp.obtain_tokens(scope="profile")["access_token"])

    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    assert header["kid"] in {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}


def test_every_required_claim_is_present(rp: RelyingParty, clock: Clock) -> None:
    """§2.2."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])

    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, ISSUER, "ada")
    assert claims["client_id"] == rp.client.client_id
    assert (claims["iat"], claims["exp"]) == (int(clock.time), int(clock.time) + 900)
    assert isinstance(claims["jti"], str)


def test_the_claims_about_the_sign_in_stay_the_same_after_a_refresh(rp: RelyingParty, clock: Clock) -> None:
    """§2.2.1: auth_time, acr, amr."""
    tokens = rp.obtain_tokens(scope="profile")
    first = rp.decode_jwt(tokens["access_token"])
    clock.forward(seconds=60)
    second = rp.decode_jwt(rp.refresh(tokens["refresh_token"]).json["access_token"])

    for name in ("auth_time", "acr", "amr"):
        assert first[name] == second[name]


def test_the_scope_claim_is_the_granted_scope(rp: RelyingParty) -> None:
    """§2.2.3."""
    assert rp.decode_jwt(rp.obtain_tokens(scope="profile notes:read")["access_token"])["scope"] == "notes:read profile"


def test_an_access_token_has_no_claims_about_the_user(rp: RelyingParty) -> None:
    """§2.2.2, §6: privacy."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="openid profile email")["access_token"])

    assert not {*ADA_CLAIMS, "name", "email"} & claims.keys()


def test_the_audience_is_the_requested_resource(rp: RelyingParty) -> None:
    """§3."""
    register_resource(rp.runtime, NOTES)

    assert rp.decode_jwt(rp.obtain_tokens(scope="profile", resource=NOTES)["access_token"])["aud"] == NOTES


def test_without_a_resource_the_audience_is_the_issuer(rp: RelyingParty) -> None:
    """§3."""
    assert rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])["aud"] == ISSUER


def test_the_subject_of_a_client_credentials_token_is_the_client(make_relying_party: MakeRelyingParty) -> None:
    """§2.2: sub; there are no claims about a sign-in."""
    machine_client = make_relying_party("machine", redirect_uris=[])

    claims = machine_client.decode_jwt(
        machine_client.request_token("client_credentials", scope="profile").json["access_token"]
    )

    assert claims["sub"] == claims["client_id"] == machine_client.client.client_id
    assert not {"auth_time", "acr", "amr"} & claims.keys()


def test_a_resource_may_be_registered_with_rs256(rp: RelyingParty) -> None:
    """§2.1: RS256 is supported."""
    register_resource(rp.runtime, ISSUER, signing_alg="RS256")
    token = rp.obtain_tokens(scope="profile")["access_token"]

    assert decode_header(token)["alg"] == "RS256"
    assert rp.call(token).status_code == 200


def test_the_type_may_be_a_full_media_type_in_any_case(rp: RelyingParty, clock: Clock) -> None:
    """§4: at+jwt or application/at+jwt."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])
    generator = rp.runtime.token_generator

    for typ, status in (("at+jwt", 200), ("application/at+jwt", 200), ("AT+JWT", 200), ("JWT", 401), ("", 401)):
        assert rp.call(generator.sign_jwt(claims, "ES256", typ, clock.time)).status_code == status


def test_a_wrong_issuer_audience_or_time_is_refused(rp: RelyingParty, clock: Clock) -> None:
    """§4."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])
    changes = [
        {"iss": "https://other.example"},
        {"aud": "https://other.example"},
        {"aud": []},
        {"exp": int(clock.time)},
        {"exp": "soon"},
        {"exp": None},
        {"jti": None},
    ]

    for change in changes:
        changed_claims = {name: value for name, value in {**claims, **change}.items() if value is not None}
        assert (
            rp.call(rp.runtime.token_generator.sign_jwt(changed_claims, "ES256", "at+jwt", clock.time)).status_code
            == 401
        ), change


def test_a_token_with_several_audiences_is_accepted(rp: RelyingParty, clock: Clock) -> None:
    """§4: aud may be an array."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])

    token = rp.runtime.token_generator.sign_jwt({**claims, "aud": [NOTES, ISSUER]}, "ES256", "at+jwt", clock.time)

    assert rp.call(token).status_code == 200
