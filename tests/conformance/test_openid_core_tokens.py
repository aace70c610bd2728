"""OpenID Connect Core 1.0: ID tokens, their keys, refreshing, subjects."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo

from tests.conformance.relying_party import NONCE, MakeRelyingParty, RelyingParty, left_half_hash, redirect_error
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER, redirect_parameters
from tests.support.clock import Clock
from valetkey.cli.keys import keys
from valetkey.protocol.resource_owner import PASSWORD_ACR
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.key_rotation import rotation_statements


def header_of(token: str) -> dict[str, Any]:
    head = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))))


def rotate_keys(runtime: Runtime, now: float, *, emergency: bool = False) -> None:
    rows = rotation_statements(
        runtime.store, runtime.cipher, now, publish_ahead_s=600, token_lifetime_s=3600, emergency=emergency
    )
    assert runtime.store.write(Transaction(rows=rows))
    runtime.keys.invalidate_cache()


def test_an_id_token_has_every_required_claim_in_its_json_type(rp: RelyingParty, clock: Clock) -> None:
    """§2."""
    claims = rp.obtain_id_token_claims()

    assert claims["iss"] == ISSUER
    assert claims["sub"] == "ada" and len(claims["sub"]) <= 255 and claims["sub"].isascii()
    assert claims["aud"] == rp.client.client_id
    assert (claims["iat"], claims["exp"]) == (int(clock.time), int(clock.time) + 3600)
    assert claims["auth_time"] == int(clock.time)
    assert (claims["acr"], claims["amr"]) == (PASSWORD_ACR, ["pwd"])
    assert {type(claims[name]) for name in ("iat", "exp", "auth_time")} == {int}
    assert "azp" not in claims


def test_the_nonce_comes_back_as_it_was_sent(rp: RelyingParty) -> None:
    """§2, §3.1.2.1: nonce."""
    assert rp.obtain_id_token_claims()["nonce"] == NONCE
    assert rp.obtain_id_token_claims(nonce="n" * 1000)["nonce"] == "n" * 1000


def test_at_hash_is_of_the_access_token_beside_it(rp: RelyingParty) -> None:
    """§3.1.3.6."""
    answer = rp.obtain_tokens()

    assert rp.decode_jwt(answer["id_token"])["at_hash"] == left_half_hash(answer["access_token"])


def test_an_id_token_is_signed_with_rs256_unless_the_client_registered_another(
    rp: RelyingParty, make_relying_party: MakeRelyingParty
) -> None:
    """§2, §15.1, Registration §2: id_token_signed_response_alg; §3.1.3.6: at_hash by the hash of the signature."""
    kinds = {"RS256": "RSA", "ES256": "EC", "PS256": "RSA", "Ed25519": "OKP", "EdDSA": "OKP"}
    advertised = rp.get("/.well-known/openid-configuration").json["id_token_signing_alg_values_supported"]
    assert {*advertised} == kinds.keys()

    for algorithm, kind in kinds.items():
        member = {"id_token_signed_response_alg": algorithm, "userinfo_signed_response_alg": algorithm}
        party = rp if algorithm == "RS256" else make_relying_party(members=member)
        answer = party.obtain_tokens()
        header = header_of(answer["id_token"])
        keys = {key["kid"]: key for key in party.get("/oauth/jwks").json["keys"]}
        assert (header["alg"], keys[header["kid"]]["kty"]) == (algorithm, kind)
        assert not {"x5u", "x5c", "jku", "jwk"} & header.keys()
        hashed = "sha512" if kind == "OKP" else "sha256"
        assert party.decode_jwt(answer["id_token"])["at_hash"] == left_half_hash(answer["access_token"], hashed)
        if party is not rp:
            assert party.decode_jwt(party.call_userinfo(answer["access_token"]).text)["sub"] == "ada"


def test_a_key_is_made_when_its_algorithm_is_first_wanted_and_then_rotates_with_the_others(
    rp: RelyingParty, make_relying_party: MakeRelyingParty, clock: Clock
) -> None:
    """§10.1.1; Registration §2."""
    assert _published(rp) == ["ES256", "RS256"]
    party = make_relying_party(members={"id_token_signed_response_alg": "PS256"})
    assert _published(rp) == ["ES256", "PS256", "RS256"]  # before the first ID token
    old = header_of(party.obtain_tokens()["id_token"])["kid"]

    rotate_keys(rp.runtime, clock())
    assert _published(rp) == ["ES256", "ES256", "PS256", "PS256", "RS256", "RS256"]
    assert header_of(party.obtain_tokens()["id_token"])["kid"] == old
    clock.forward(seconds=601)
    assert header_of(party.obtain_tokens()["id_token"])["kid"] != old


def _published(party: RelyingParty) -> list[str]:
    return sorted(key["alg"] for key in party.get("/oauth/jwks").json["keys"])


def test_the_answer_with_an_id_token_is_not_cached(rp: RelyingParty) -> None:
    """§3.1.3.3."""
    redeemed = rp.redeem(rp.obtain_code(scope=("openid",)))

    assert (redeemed.headers["Cache-Control"], redeemed.headers["Pragma"]) == ("no-store", "no-cache")
    assert redeemed.content_type == "application/json"


def test_auth_time_is_when_the_person_signed_in_and_not_when_the_token_was_made(rp: RelyingParty, clock: Clock) -> None:
    """§2: auth_time; it is always told, so require_auth_time is met."""
    signed_in = int(clock.time)
    clock.forward(seconds=500)

    claims = rp.obtain_id_token_claims(max_age="10000")

    assert (claims["auth_time"], claims["iat"]) == (signed_in, signed_in + 500)


def test_claims_asked_for_in_the_id_token_are_in_it(rp: RelyingParty) -> None:
    """§5.5."""
    claims = rp.obtain_id_token_claims(claims=json.dumps({"id_token": {"email": {"essential": True}, "address": None}}))

    assert claims["email"] == "ada@example.org"
    assert claims["address"]["country"] == "GB"
    assert "name" not in claims


def test_scope_claims_are_told_by_userinfo_and_not_in_the_id_token(rp: RelyingParty) -> None:
    """§5.4."""
    assert not {"name", "email"} & rp.obtain_id_token_claims(scope="openid profile email").keys()


def test_no_request_for_a_claim_can_change_what_the_provider_says(rp: RelyingParty) -> None:
    """§2, §5.5."""
    wishes = {name: {"value": "x"} for name in ("iss", "aud", "exp", "nonce", "auth_time", "azp")}

    claims = rp.obtain_id_token_claims(claims=json.dumps({"id_token": wishes}))

    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, rp.client.client_id, NONCE)
    assert "azp" not in claims


def test_a_refreshed_id_token_is_about_the_same_sign_in(rp: RelyingParty, clock: Clock) -> None:
    """§12.2: iss, sub, aud, auth_time are the same; iat is new; there is no nonce."""
    answer = rp.obtain_tokens(scope="openid offline_access")
    first = rp.decode_jwt(answer["id_token"])
    clock.forward(seconds=3600)

    again = rp.refresh(answer["refresh_token"]).json
    second = rp.decode_jwt(again["id_token"])

    for name in ("iss", "sub", "aud", "auth_time", "acr", "amr", "sid"):
        assert first[name] == second[name]
    assert second["iat"] == first["iat"] + 3600
    assert "nonce" not in second and "azp" not in second
    assert second["at_hash"] == left_half_hash(again["access_token"])


def test_a_refresh_token_is_for_the_client_that_it_was_given_to(
    rp: RelyingParty, make_relying_party: MakeRelyingParty
) -> None:
    """§12.1."""
    token = rp.obtain_tokens()["refresh_token"]

    assert make_relying_party(name="Other").refresh(token).json["error"] == "invalid_grant"
    assert rp.http.post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": token}).status_code == 401


def test_the_next_key_is_published_before_it_signs(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1."""
    before = header_of(rp.obtain_tokens()["id_token"])["kid"]
    published = {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}

    rotate_keys(rp.runtime, clock.time)
    then = {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}
    assert published < then
    assert header_of(rp.obtain_tokens()["id_token"])["kid"] == before

    clock.forward(seconds=601)
    assert header_of(rp.obtain_tokens()["id_token"])["kid"] in then - published


def test_tokens_of_the_key_before_are_good_while_they_live(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1: the verification keys of old tokens stay published."""
    rotate_keys(rp.runtime, clock.time)
    clock.forward(seconds=599)
    answer = rp.obtain_tokens()
    clock.forward(seconds=2)

    assert rp.decode_jwt(answer["id_token"])["sub"] == "ada"
    assert rp.call_userinfo(answer["access_token"]).status_code == 200
    assert "code" in rp.authorize(prompt="none", id_token_hint=answer["id_token"]).location


def test_an_id_token_of_a_retired_key_is_still_a_hint(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1, RP-Initiated Logout §2: an expired one counts, and nobody is kept from signing out by a rotation."""
    hint = rp.obtain_tokens()["id_token"]
    for _ in range(2):
        rotate_keys(rp.runtime, clock.time)
        clock.forward(seconds=600 + 3600)

    assert header_of(hint)["kid"] not in {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}
    assert "code" in redirect_parameters(rp.authorize(prompt="none", id_token_hint=hint))
    assert "You are signed out" in rp.get("/oauth/logout", query_string={"id_token_hint": hint}).text


def test_after_an_emergency_no_key_from_before_proves_anything(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1; nor does one that was retired long ago."""
    hints = []
    for _ in range(3):
        hints.append(rp.obtain_tokens()["id_token"])
        rotate_keys(rp.runtime, clock.time)
        clock.forward(seconds=600 + 1800)
    rotate_keys(rp.runtime, clock.time, emergency=True)

    for hint in hints:
        assert redirect_error(rp.authorize(prompt="none", id_token_hint=hint)) == "invalid_request"
        assert rp.get("/oauth/logout", query_string={"id_token_hint": hint}).status_code == 400
    assert "code" in redirect_parameters(rp.authorize(prompt="none", id_token_hint=rp.obtain_tokens()["id_token"]))


def test_the_command_keeps_the_old_key_until_its_last_id_token_ends(
    rp: RelyingParty, make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    """§10.1.1: ID tokens live longer than access tokens."""
    script = ScriptInfo(create_app=lambda: make_app(sqlite_store_url))
    assert CliRunner().invoke(keys, ["rotate"], obj=script).exit_code == 0
    rp.runtime.keys.invalidate_cache()
    clock.forward(seconds=899)
    token = rp.obtain_tokens()["id_token"]
    kid = header_of(token)["kid"]
    clock.forward(seconds=3599)

    assert header_of(rp.obtain_tokens()["id_token"])["kid"] != kid
    assert rp.decode_jwt(token)["sub"] == "ada"


def test_a_public_subject_is_the_same_for_all_clients(rp: RelyingParty, make_relying_party: MakeRelyingParty) -> None:
    """§8."""
    assert rp.obtain_id_token_claims()["sub"] == make_relying_party(name="Other").obtain_id_token_claims()["sub"]


def test_a_pairwise_subject_is_one_per_sector_and_tells_nothing(make_relying_party: MakeRelyingParty) -> None:
    """§8.1."""
    pairwise, bank = {"subject_type": "pairwise"}, "https://bank.example/back"
    one, same_host = (make_relying_party(members=pairwise) for _ in range(2))
    other = make_relying_party(members=pairwise, redirect_uris=[bank])
    together = make_relying_party(members={**pairwise, "sector_identifier_uri": "https://shop.example/sector.json"})
    redeemed = other.redeem(
        redirect_parameters(other.complete_authorization(redirect_uri=bank))["code"], redirect_uri=bank
    )
    other_sub = other.decode_jwt(redeemed.json["id_token"])["sub"]

    subs = [party.obtain_id_token_claims()["sub"] for party in (one, same_host, together)]

    assert len({*subs}) == 1
    assert other_sub not in {*subs, "ada"}
    assert "ada" not in subs[0] and len(subs[0]) == 43
    assert one.obtain_id_token_claims()["sub"] == subs[0]


def test_userinfo_and_the_id_token_name_the_same_pairwise_subject(make_relying_party: MakeRelyingParty) -> None:
    """§5.3.2, §8.1; the access token, which the client can read, must not tell the other name."""
    rp = make_relying_party(members={"subject_type": "pairwise"})
    answer = rp.obtain_tokens()
    sub = rp.decode_jwt(answer["id_token"])["sub"]

    assert rp.call_userinfo(answer["access_token"]).json["sub"] == sub
    assert rp.introspect(answer["access_token"]).json["sub"] == sub
    assert "." not in answer["access_token"]
    assert rp.decode_jwt(rp.refresh(answer["refresh_token"]).json["id_token"])["sub"] == sub


def test_a_pairwise_subject_serves_as_hint(make_relying_party: MakeRelyingParty, clock: Clock) -> None:
    """§3.1.2.1: id_token_hint, §8.1."""
    rp = make_relying_party(members={"subject_type": "pairwise"})
    answer = rp.obtain_tokens()
    sub = rp.decode_jwt(answer["id_token"])["sub"]
    clock.forward(seconds=1)

    assert "code" in rp.authorize(prompt="none", id_token_hint=answer["id_token"]).location
    by_sub = {"prompt": "none", "claims": json.dumps({"id_token": {"sub": {"value": sub}}})}
    by_other = {"prompt": "none", "claims": json.dumps({"id_token": {"sub": {"value": "ada"}}})}
    assert "code" in rp.authorize(**by_sub).location
    assert redirect_error(rp.authorize(**by_other)) == "login_required"


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
def test_an_id_token_is_no_access_token(rp: RelyingParty, kind: str) -> None:
    """§16.3 and RFC 9068 §5: kinds of tokens do not pass for each other."""
    token = rp.obtain_tokens(scope="openid profile")[kind]

    assert rp.call_userinfo(token).status_code == 401
    assert rp.call(token).status_code == 401
    if kind == "id_token":
        assert rp.introspect(token).json == {"active": False}


def test_sessions_of_one_person_have_names_of_their_own(rp: RelyingParty, clock: Clock) -> None:
    """Back-Channel Logout §2.1: sid."""
    first = rp.obtain_id_token_claims()["sid"]
    clock.forward(seconds=1)

    assert rp.obtain_id_token_claims()["sid"] == first
    assert rp.obtain_id_token_claims(prompt="login")["sid"] != first
