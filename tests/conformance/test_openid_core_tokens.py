"""OpenID Connect Core 1.0: ID tokens, their keys, refreshing, subjects."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask.cli import ScriptInfo

from tests.conformance.relying_party import NONCE, MakeRelyingParty, RelyingParty, left_half_hash, redirect_error
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER, redirect_parameters
from tests.support.clock import Clock
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.cli.keys import keys
from valetkey.protocol.resource_owner import PASSWORD_ACR
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.tables import sessions
from valetkey.tokens.key_rotation import rotation_statements


def decode_header(token: str) -> dict[str, Any]:
    header = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))))


def rotate_keys(runtime: Runtime, now: float, *, emergency: bool = False) -> None:
    """Rotate the signing keys: publish new keys 600 seconds before they sign; tokens live 3600 seconds."""
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


def test_the_id_token_contains_the_nonce_as_it_was_sent(rp: RelyingParty) -> None:
    """§2, §3.1.2.1: nonce."""
    assert rp.obtain_id_token_claims()["nonce"] == NONCE
    assert rp.obtain_id_token_claims(nonce="n" * 1000)["nonce"] == "n" * 1000


def test_at_hash_is_the_hash_of_the_access_token_in_the_same_response(rp: RelyingParty) -> None:
    """§3.1.3.6."""
    tokens = rp.obtain_tokens()

    assert rp.decode_jwt(tokens["id_token"])["at_hash"] == left_half_hash(tokens["access_token"])


def test_an_id_token_is_signed_with_rs256_unless_another_algorithm_is_registered(
    rp: RelyingParty, make_relying_party: MakeRelyingParty
) -> None:
    """§2, §15.1, Registration §2: id_token_signed_response_alg; §3.1.3.6: at_hash uses the hash of the algorithm."""
    key_types = {"RS256": "RSA", "ES256": "EC", "PS256": "RSA", "Ed25519": "OKP", "EdDSA": "OKP"}
    advertised = rp.get("/.well-known/openid-configuration").json["id_token_signing_alg_values_supported"]
    assert {*advertised} == key_types.keys()

    for algorithm, key_type in key_types.items():
        members = {"id_token_signed_response_alg": algorithm, "userinfo_signed_response_alg": algorithm}
        party = rp if algorithm == "RS256" else make_relying_party(members=members)
        tokens = party.obtain_tokens()
        header = decode_header(tokens["id_token"])
        keys = {key["kid"]: key for key in party.get("/oauth/jwks").json["keys"]}
        assert (header["alg"], keys[header["kid"]]["kty"]) == (algorithm, key_type)
        assert not {"x5u", "x5c", "jku", "jwk"} & header.keys()
        hash_name = "sha512" if key_type == "OKP" else "sha256"
        assert party.decode_jwt(tokens["id_token"])["at_hash"] == left_half_hash(tokens["access_token"], hash_name)
        if party is not rp:
            assert party.decode_jwt(party.call_userinfo(tokens["access_token"]).text)["sub"] == "ada"


def test_the_key_of_an_algorithm_is_created_at_the_first_registration_and_then_rotates(
    rp: RelyingParty, make_relying_party: MakeRelyingParty, clock: Clock
) -> None:
    """§10.1.1; Registration §2."""
    assert _published_algorithms(rp) == ["ES256", "RS256"]
    party = make_relying_party(members={"id_token_signed_response_alg": "PS256"})
    assert _published_algorithms(rp) == ["ES256", "PS256", "RS256"]  # before the first ID token
    old_kid = decode_header(party.obtain_tokens()["id_token"])["kid"]

    rotate_keys(rp.runtime, clock())
    assert _published_algorithms(rp) == ["ES256", "ES256", "PS256", "PS256", "RS256", "RS256"]
    assert decode_header(party.obtain_tokens()["id_token"])["kid"] == old_kid
    clock.forward(seconds=601)
    assert decode_header(party.obtain_tokens()["id_token"])["kid"] != old_kid


def _published_algorithms(party: RelyingParty) -> list[str]:
    return sorted(key["alg"] for key in party.get("/oauth/jwks").json["keys"])


def test_the_response_with_an_id_token_is_not_cached(rp: RelyingParty) -> None:
    """§3.1.3.3."""
    redeemed = rp.redeem(rp.obtain_code(scope=("openid",)))

    assert (redeemed.headers["Cache-Control"], redeemed.headers["Pragma"]) == ("no-store", "no-cache")
    assert redeemed.content_type == "application/json"


def test_auth_time_is_the_time_of_the_sign_in_and_not_of_the_token(rp: RelyingParty, clock: Clock) -> None:
    """§2: auth_time."""
    signed_in = int(clock.time)
    clock.forward(seconds=500)

    claims = rp.obtain_id_token_claims(max_age="10000")

    assert (claims["auth_time"], claims["iat"]) == (signed_in, signed_in + 500)


ESSENTIAL_AUTH_TIME = json.dumps({"id_token": {"auth_time": {"essential": True}}})


@pytest.mark.parametrize(
    ("members", "wish"),
    [({"require_auth_time": True}, {}), ({}, {"claims": ESSENTIAL_AUTH_TIME})],
    ids=["registration", "claims"],
)
def test_a_required_auth_time_needs_a_sign_in_at_a_known_time(
    make_relying_party: MakeRelyingParty, clock: Clock, members: dict[str, Any], wish: dict[str, str]
) -> None:
    """§2: auth_time; Registration §2: require_auth_time. A sign-in with Google, for example, has no time."""
    rp = make_relying_party(members=members)
    rp.obtain_tokens()
    forget_sign_in_times(rp.runtime)
    clock.forward(seconds=1)

    refused = rp.authorize(prompt="none", **wish)
    assert redirect_error(refused) == "login_required"
    assert rp.requires_sign_in(**wish)
    rp.sign_in_as("ada")
    clock.forward(seconds=500)
    assert rp.obtain_id_token_claims(prompt="none", **wish)["auth_time"] == int(clock.time) - 500


def test_a_sign_in_at_an_unknown_time_is_not_enough_for_a_client_that_requires_auth_time(
    make_relying_party: MakeRelyingParty, clock: Clock
) -> None:
    """§2: auth_time. The user is asked to sign in again, and may do so in another way."""
    rp = make_relying_party(members={"require_auth_time": True})
    consent_page = rp.authorize().location
    clock.forward(seconds=1)
    rp.sign_in_as("ada")
    forget_sign_in_times(rp.runtime)

    assert urlsplit(rp.get(consent_page).location).path == "/account/sign-in"


def test_a_client_that_registers_require_auth_time_gets_no_id_token_without_it(rp: RelyingParty) -> None:
    """Registration §2: also for grants from before."""
    rp.obtain_tokens()
    forget_sign_in_times(rp.runtime)
    token = rp.obtain_tokens()["refresh_token"]
    client = clients.find(rp.runtime.store, rp.client.client_id, rp.runtime.clock())
    assert client
    update = check_update(rp.runtime.settings, client, {"require_auth_time": True}, None)
    write_update(rp.runtime, update, rp.runtime.clock(), keep_consents=True)

    assert rp.refresh(token).json["error"] == "invalid_grant"


def forget_sign_in_times(runtime: Runtime) -> None:
    """Make all sessions those of a provider that does not say when its users signed in."""
    runtime.store.write_all(Statement(sa.update(sessions).values(auth_time=sa.null()))())
    runtime.authenticated_sessions.invalidate()


def test_claims_requested_for_the_id_token_are_in_it(rp: RelyingParty) -> None:
    """§5.5."""
    claims = rp.obtain_id_token_claims(claims=json.dumps({"id_token": {"email": {"essential": True}, "address": None}}))

    assert claims["email"] == "ada@example.org"
    assert claims["address"]["country"] == "GB"
    assert "name" not in claims


def test_the_claims_of_scopes_are_in_userinfo_and_not_in_the_id_token(rp: RelyingParty) -> None:
    """§5.4."""
    assert not {"name", "email"} & rp.obtain_id_token_claims(scope="openid profile email").keys()


def test_a_claims_request_cannot_change_the_values_of_protocol_claims(rp: RelyingParty) -> None:
    """§2, §5.5."""
    requested = {name: {"value": "x"} for name in ("iss", "aud", "exp", "nonce", "auth_time", "azp")}

    claims = rp.obtain_id_token_claims(claims=json.dumps({"id_token": requested}))

    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, rp.client.client_id, NONCE)
    assert "azp" not in claims


def test_a_refreshed_id_token_has_the_claims_of_the_same_sign_in(rp: RelyingParty, clock: Clock) -> None:
    """§12.2: iss, sub, aud and auth_time are the same; iat is new; there is no nonce."""
    tokens = rp.obtain_tokens(scope="openid offline_access")
    first = rp.decode_jwt(tokens["id_token"])
    clock.forward(seconds=3600)

    refreshed = rp.refresh(tokens["refresh_token"]).json
    second = rp.decode_jwt(refreshed["id_token"])

    for name in ("iss", "sub", "aud", "auth_time", "acr", "amr", "sid"):
        assert first[name] == second[name]
    assert second["iat"] == first["iat"] + 3600
    assert "nonce" not in second and "azp" not in second
    assert second["at_hash"] == left_half_hash(refreshed["access_token"])


def test_a_refresh_token_is_accepted_only_from_the_client_it_was_issued_to(
    rp: RelyingParty, make_relying_party: MakeRelyingParty
) -> None:
    """§12.1."""
    token = rp.obtain_tokens()["refresh_token"]

    assert make_relying_party(name="Other").refresh(token).json["error"] == "invalid_grant"
    assert rp.http.post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": token}).status_code == 401


def test_the_next_key_is_published_before_it_signs(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1."""
    kid_before = decode_header(rp.obtain_tokens()["id_token"])["kid"]
    published = {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}

    rotate_keys(rp.runtime, clock.time)
    published_after = {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}
    assert published < published_after
    assert decode_header(rp.obtain_tokens()["id_token"])["kid"] == kid_before

    clock.forward(seconds=601)
    assert decode_header(rp.obtain_tokens()["id_token"])["kid"] in published_after - published


def test_tokens_signed_by_the_previous_key_stay_valid_until_they_expire(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1: the verification keys of old tokens stay published."""
    rotate_keys(rp.runtime, clock.time)
    clock.forward(seconds=599)
    tokens = rp.obtain_tokens()
    clock.forward(seconds=2)

    assert rp.decode_jwt(tokens["id_token"])["sub"] == "ada"
    assert rp.call_userinfo(tokens["access_token"]).status_code == 200
    assert "code" in rp.authorize(prompt="none", id_token_hint=tokens["id_token"]).location


def test_an_id_token_signed_by_a_retired_key_is_accepted_as_a_hint(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1, RP-Initiated Logout §2: a hint may have expired, and a rotation must not prevent a sign-out."""
    hint = rp.obtain_tokens()["id_token"]
    for _ in range(2):
        rotate_keys(rp.runtime, clock.time)
        clock.forward(seconds=600 + 3600)

    assert decode_header(hint)["kid"] not in {key["kid"] for key in rp.get("/oauth/jwks").json["keys"]}
    assert "code" in redirect_parameters(rp.authorize(prompt="none", id_token_hint=hint))
    assert "You are signed out" in rp.get("/oauth/logout", query_string={"id_token_hint": hint}).text


def test_after_an_emergency_rotation_no_older_id_token_is_accepted_as_a_hint(rp: RelyingParty, clock: Clock) -> None:
    """§10.1.1; also if its key was retired long ago."""
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


def test_keys_rotate_keeps_the_old_key_until_its_last_id_token_expires(
    rp: RelyingParty, make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    """§10.1.1: ID tokens are valid longer than access tokens."""
    script = ScriptInfo(create_app=lambda: make_app(sqlite_store_url))
    assert CliRunner().invoke(keys, ["rotate"], obj=script).exit_code == 0
    rp.runtime.keys.invalidate_cache()
    clock.forward(seconds=899)
    token = rp.obtain_tokens()["id_token"]
    kid = decode_header(token)["kid"]
    clock.forward(seconds=3599)

    assert decode_header(rp.obtain_tokens()["id_token"])["kid"] != kid
    assert rp.decode_jwt(token)["sub"] == "ada"


def test_a_public_subject_is_the_same_for_all_clients(rp: RelyingParty, make_relying_party: MakeRelyingParty) -> None:
    """§8."""
    assert rp.obtain_id_token_claims()["sub"] == make_relying_party(name="Other").obtain_id_token_claims()["sub"]


def test_a_pairwise_subject_is_the_same_within_a_sector_and_does_not_contain_the_sub(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§8.1."""
    pairwise, bank = {"subject_type": "pairwise"}, "https://bank.example/back"
    first, same_host = (make_relying_party(members=pairwise) for _ in range(2))
    other = make_relying_party(members=pairwise, redirect_uris=[bank])
    same_sector = make_relying_party(members={**pairwise, "sector_identifier_uri": "https://shop.example/sector.json"})
    redeemed = other.redeem(
        redirect_parameters(other.complete_authorization(redirect_uri=bank))["code"], redirect_uri=bank
    )
    other_sub = other.decode_jwt(redeemed.json["id_token"])["sub"]

    subs = [party.obtain_id_token_claims()["sub"] for party in (first, same_host, same_sector)]

    assert len({*subs}) == 1
    assert other_sub not in {*subs, "ada"}
    assert "ada" not in subs[0] and len(subs[0]) == 43
    assert first.obtain_id_token_claims()["sub"] == subs[0]


def test_native_clients_of_the_operator_keep_the_sector_of_their_redirect_host(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§8.1."""
    uri = "http://127.0.0.1/callback"
    subs = []
    for _ in range(2):
        party = make_relying_party("native", redirect_uris=[uri], members={"subject_type": "pairwise"})
        code = redirect_parameters(party.complete_authorization(redirect_uri=uri))["code"]
        subs.append(party.decode_jwt(party.redeem(code, redirect_uri=uri).json["id_token"])["sub"])

    assert subs[0] == subs[1]


def test_userinfo_introspection_and_the_id_token_have_the_same_pairwise_subject(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§5.3.2, §8.1; the access token must not reveal the public subject, so it is opaque."""
    rp = make_relying_party(members={"subject_type": "pairwise"})
    tokens = rp.obtain_tokens()
    sub = rp.decode_jwt(tokens["id_token"])["sub"]

    assert rp.call_userinfo(tokens["access_token"]).json["sub"] == sub
    assert rp.introspect(tokens["access_token"]).json["sub"] == sub
    assert "." not in tokens["access_token"]
    assert rp.decode_jwt(rp.refresh(tokens["refresh_token"]).json["id_token"])["sub"] == sub


def test_an_id_token_hint_and_a_requested_sub_may_be_pairwise(
    make_relying_party: MakeRelyingParty, clock: Clock
) -> None:
    """§3.1.2.1: id_token_hint, §8.1."""
    rp = make_relying_party(members={"subject_type": "pairwise"})
    tokens = rp.obtain_tokens()
    sub = rp.decode_jwt(tokens["id_token"])["sub"]
    clock.forward(seconds=1)

    assert "code" in rp.authorize(prompt="none", id_token_hint=tokens["id_token"]).location
    by_sub = {"prompt": "none", "claims": json.dumps({"id_token": {"sub": {"value": sub}}})}
    by_other = {"prompt": "none", "claims": json.dumps({"id_token": {"sub": {"value": "ada"}}})}
    assert "code" in rp.authorize(**by_sub).location
    assert redirect_error(rp.authorize(**by_other)) == "login_required"


@pytest.mark.parametrize("token_type", ["id_token", "refresh_token"])
def test_id_tokens_and_refresh_tokens_are_not_accepted_as_access_tokens(rp: RelyingParty, token_type: str) -> None:
    """§16.3, RFC 9068 §5: one type of token must not be accepted as another."""
    token = rp.obtain_tokens(scope="openid profile")[token_type]

    assert rp.call_userinfo(token).status_code == 401
    assert rp.call(token).status_code == 401
    if token_type == "id_token":
        assert rp.introspect(token).json == {"active": False}


def test_each_session_of_a_user_has_its_own_sid(rp: RelyingParty, clock: Clock) -> None:
    """Back-Channel Logout §2.1: sid."""
    first = rp.obtain_id_token_claims()["sid"]
    clock.forward(seconds=1)

    assert rp.obtain_id_token_claims()["sid"] == first
    assert rp.obtain_id_token_claims(prompt="login")["sid"] != first
