"""RFC 9068: JWT Profile for OAuth 2.0 Access Tokens."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.conformance.relying_party import ADA_CLAIMS, MakeRelyingParty, RelyingParty, register_resource
from tests.support.browser_client import ISSUER
from tests.support.clock import Clock

NOTES = "https://notes.example"


def header_of(token: str) -> dict[str, Any]:
    head = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))))


def test_the_header_names_type_algorithm_and_key(rp: RelyingParty) -> None:
    """§2.1: at+jwt, signed, never none."""
    header = header_of(rp.obtain_tokens(scope="profile")["access_token"])

    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    assert header["kid"] in {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}


def test_every_required_claim_is_there(rp: RelyingParty, clock: Clock) -> None:
    """§2.2."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])

    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, ISSUER, "ada")
    assert claims["client_id"] == rp.client.client_id
    assert (claims["iat"], claims["exp"]) == (int(clock.time), int(clock.time) + 900)
    assert isinstance(claims["jti"], str)


def test_the_sign_in_is_told(rp: RelyingParty, clock: Clock) -> None:
    """§2.2.1: auth_time, acr, amr; the same after a refresh."""
    answer = rp.obtain_tokens(scope="profile")
    first = rp.decode_jwt(answer["access_token"])
    clock.forward(seconds=60)
    second = rp.decode_jwt(rp.refresh(answer["refresh_token"]).json["access_token"])

    for name in ("auth_time", "acr", "amr"):
        assert first[name] == second[name]


def test_the_scope_is_told_as_it_was_granted(rp: RelyingParty) -> None:
    """§2.2.3."""
    assert rp.decode_jwt(rp.obtain_tokens(scope="profile notes:read")["access_token"])["scope"] == "notes:read profile"


def test_nothing_is_told_about_the_person_that_was_not_asked_for(rp: RelyingParty) -> None:
    """§2.2.2, §6: privacy."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="openid profile email")["access_token"])

    assert not {*ADA_CLAIMS, "name", "email"} & claims.keys()


def test_the_audience_is_the_resource_that_was_asked_for(rp: RelyingParty) -> None:
    """§3."""
    register_resource(rp.runtime, NOTES)

    assert rp.decode_jwt(rp.obtain_tokens(scope="profile", resource=NOTES)["access_token"])["aud"] == NOTES


def test_without_a_resource_the_default_is_the_audience(rp: RelyingParty) -> None:
    """§3."""
    assert rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])["aud"] == ISSUER


def test_a_machines_token_is_about_the_client(make_relying_party: MakeRelyingParty) -> None:
    """§2.2: sub; and there was no sign-in."""
    robot = make_relying_party("machine", redirect_uris=[])

    claims = robot.decode_jwt(robot.request_token("client_credentials", scope="profile").json["access_token"])

    assert claims["sub"] == claims["client_id"] == robot.client.client_id
    assert not {"auth_time", "acr", "amr"} & claims.keys()


def test_rs256_is_served_where_a_resource_wants_it(rp: RelyingParty) -> None:
    """§2.1: RS256 is supported."""
    register_resource(rp.runtime, ISSUER, signing_alg="RS256")
    token = rp.obtain_tokens(scope="profile")["access_token"]

    assert header_of(token)["alg"] == "RS256"
    assert rp.call(token).status_code == 200


def test_the_type_may_be_written_in_full_and_in_any_case(rp: RelyingParty, clock: Clock) -> None:
    """§4: at+jwt or application/at+jwt."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])
    mint = rp.runtime.token_generator

    for typ, status in (("at+jwt", 200), ("application/at+jwt", 200), ("AT+JWT", 200), ("JWT", 401), ("", 401)):
        assert rp.call(mint.sign_jwt(claims, "ES256", typ, clock.time)).status_code == status


def test_issuer_audience_and_time_are_judged(rp: RelyingParty, clock: Clock) -> None:
    """§4."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])
    wrong = [
        {"iss": "https://other.example"},
        {"aud": "https://other.example"},
        {"aud": []},
        {"exp": int(clock.time)},
        {"exp": "soon"},
        {"exp": None},
        {"jti": None},
    ]

    for change in wrong:
        changed = {name: value for name, value in {**claims, **change}.items() if value is not None}
        assert (
            rp.call(rp.runtime.token_generator.sign_jwt(changed, "ES256", "at+jwt", clock.time)).status_code == 401
        ), change


def test_each_resource_among_several_audiences_takes_the_token(rp: RelyingParty, clock: Clock) -> None:
    """§4: aud may be an array."""
    claims = rp.decode_jwt(rp.obtain_tokens(scope="profile")["access_token"])

    token = rp.runtime.token_generator.sign_jwt({**claims, "aud": [NOTES, ISSUER]}, "ES256", "at+jwt", clock.time)

    assert rp.call(token).status_code == 200
