"""OpenID Connect Core 1.0: userinfo and claims."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from tests.conformance.relying_party import (
    ADA_CLAIMS,
    ALL_SCOPES,
    MakeRelyingParty,
    RelyingParty,
    redirect_error,
    register_relying_party,
)
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, ISSUER, redirect_parameters
from tests.support.clock import Clock
from valetkey import Owner
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction

SCOPES = {
    "profile": {
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    },
    "email": {"email", "email_verified"},
    "address": {"address"},
    "phone": {"phone_number", "phone_number_verified"},
}


def wish(place: str = "userinfo", **members: Any) -> str:
    return json.dumps({place: members})


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_opens_its_claims_and_no_others(rp: RelyingParty, scope: str) -> None:
    """§5.4."""
    assert rp.obtain_userinfo_claims(scope=f"openid {scope}").keys() == {"sub", *SCOPES[scope]}


def test_all_scopes_together_open_all_claims_in_their_json_types(rp: RelyingParty) -> None:
    """§5.1, §5.1.1."""
    claims = rp.obtain_userinfo_claims(scope=ALL_SCOPES)

    assert claims == {"sub": "ada", "name": "Ada Lovelace", "email": "ada@example.org", **ADA_CLAIMS}
    assert claims["email_verified"] is True
    assert claims["phone_number_verified"] is False
    assert isinstance(claims["address"], dict)
    assert isinstance(claims["updated_at"], int)


def test_with_openid_alone_userinfo_tells_the_subject_alone(rp: RelyingParty) -> None:
    """§5.3.2: sub is always there, and is that of the ID token."""
    answer = rp.obtain_tokens()

    assert rp.call_userinfo(answer["access_token"]).json == {"sub": rp.decode_jwt(answer["id_token"])["sub"]}


def test_a_claim_that_is_not_known_is_left_out_and_not_null(make_relying_party: MakeRelyingParty) -> None:
    """§5.3.2: neither null nor an empty string."""
    rp = make_relying_party()
    rp.sign_in_as("bob")

    claims = rp.obtain_userinfo_claims(scope=ALL_SCOPES, signs_in_as="bob")

    made_at = int(rp.runtime.clock())
    assert claims == {"sub": "bob", "email": "bob@example.org", "email_verified": False, "updated_at": made_at}


def test_what_nobody_has_verified_is_told_so(provider: Flask, make_relying_party: MakeRelyingParty) -> None:
    """§5.1: phone_number_verified, email_verified."""
    rp, told = make_relying_party(), {"phone_number": "+1 555 0100"}
    account = accounts.add("eve", "eve@example.org", "Eve", None, rp.runtime.clock(), claims=told)
    assert rp.runtime.store.write(Transaction(account))
    rp.sign_in_as("eve")

    claims = rp.obtain_userinfo_claims(scope="openid email phone", signs_in_as="eve")

    assert (claims["phone_number_verified"], claims["email_verified"]) == (False, False)


def test_userinfo_answers_get_post_with_a_header_and_post_with_a_form(rp: RelyingParty) -> None:
    """§5.3, §5.3.1, RFC 6750 §2.1, §2.2."""
    token = rp.obtain_tokens(scope="openid email")["access_token"]

    answers = [
        rp.call_userinfo(token),
        rp.call_userinfo(token, "POST"),
        rp.call_userinfo(token, "POST", content_type="application/json"),  # of a body that is not there
        rp.call_userinfo(token, "POST", data={"schema": "openid"}),
        rp.http.post("/oauth/userinfo", data={"access_token": token}),
    ]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].content_type == "application/json"
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_userinfo_answers_head_as_it_does_get(rp: RelyingParty) -> None:
    """RFC 9110 §9.3.2: wherever GET is answered, HEAD is."""
    token = rp.obtain_tokens()["access_token"]

    told, refused = rp.call_userinfo(token, "HEAD"), rp.http.head("/oauth/userinfo")

    assert (told.status_code, told.data) == (200, b"")
    assert told.headers["Content-Length"] == str(len(rp.call_userinfo(token).data))
    assert (refused.status_code, refused.data) == (401, b"")
    assert refused.headers["WWW-Authenticate"] == rp.get("/oauth/userinfo").headers["WWW-Authenticate"]


def test_what_userinfo_tells_is_asked_for_anew_after_half_a_second(rp: RelyingParty, clock: Clock) -> None:
    """§5.3: one answer serves a crowd of requests, and no longer than revocation takes."""
    token = rp.obtain_tokens(scope="openid email")["access_token"]
    assert rp.call_userinfo(token).json["email"] == "ada@example.org"
    with closing(sqlite3.connect(rp.runtime.settings.store_url.removeprefix("sqlite:///"))) as store, store:
        store.execute("UPDATE valetkey_accounts SET email = 'ada@home.example' WHERE sub = 'ada'")

    clock.forward(seconds=0.6)

    assert rp.call_userinfo(token).json["email"] == "ada@home.example"


def test_a_token_in_two_places_or_in_the_query_is_refused(rp: RelyingParty) -> None:
    """RFC 6750 §2, RFC 9700 §4.3.2."""
    token = rp.obtain_tokens()["access_token"]

    twice = rp.call_userinfo(token, "POST", data={"access_token": token})

    assert (twice.status_code, twice.json["error"]) == (400, "invalid_request")
    assert rp.get(f"/oauth/userinfo?access_token={token}").status_code == 401


def test_userinfo_may_be_asked_by_scripts_of_any_origin(rp: RelyingParty) -> None:
    """§5.3: CORS."""
    asked = rp.http.options("/oauth/userinfo", headers={"Origin": "https://spa.example"})

    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    refused = rp.get("/oauth/userinfo")
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]
    assert rp.call_userinfo(rp.obtain_tokens()["access_token"]).headers["Access-Control-Allow-Origin"] == "*"


def test_without_a_token_the_challenge_names_no_error(rp: RelyingParty) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.get("/oauth/userinfo")

    assert (refused.status_code, refused.json) == (401, {"error_description": "an access token is required"})
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="userinfo"'


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_bad_token_is_an_invalid_token(rp: RelyingParty, token: str) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.call_userinfo(token)

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_an_expired_token_is_an_invalid_token(rp: RelyingParty, clock: Clock) -> None:
    """§5.3.3."""
    token = rp.obtain_tokens()["access_token"]
    clock.forward(seconds=15 * 60)

    assert 'error="invalid_token"' in rp.call_userinfo(token).headers["WWW-Authenticate"]


def test_a_token_without_openid_lacks_a_scope(rp: RelyingParty) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.call_userinfo(rp.obtain_tokens(scope="profile")["access_token"])

    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="openid"' in refused.headers["WWW-Authenticate"]


def test_a_machines_token_tells_of_nobody(make_relying_party: MakeRelyingParty) -> None:
    """§5.3: userinfo is about the person who signed in."""
    robot = make_relying_party("machine", redirect_uris=[])

    for scope in ("openid profile", "profile", None):
        token = robot.request_token("client_credentials", **({"scope": scope} if scope else {})).json["access_token"]
        assert robot.call_userinfo(token).status_code in {401, 403}


def test_a_person_who_is_out_is_told_of_no_more(rp: RelyingParty, clock: Clock) -> None:
    """§5.3.3."""
    token = rp.obtain_tokens()["access_token"]
    account = accounts.find(rp.runtime.store, "ada")
    assert account is not None
    rp.runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", clock.time),)))

    assert rp.call_userinfo(token).status_code == 401


def test_signed_userinfo_names_issuer_and_audience(make_relying_party: MakeRelyingParty) -> None:
    """§5.3.2, Registration §2: userinfo_signed_response_alg."""
    for algorithm in ("RS256", "ES256"):
        rp = make_relying_party(members={"userinfo_signed_response_alg": algorithm})
        answered = rp.call_userinfo(rp.obtain_tokens(scope="openid email")["access_token"])

        assert answered.content_type == "application/jwt"
        claims = rp.decode_jwt(answered.text)
        assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, rp.client.client_id, "ada")
        assert claims["email"] == "ada@example.org"


def test_claims_asked_for_one_by_one_are_told_by_userinfo(rp: RelyingParty) -> None:
    """§5.5, §5.5.1: null, essential, and members that are not understood."""
    wishes = wish(name={"essential": True}, email=None, phone_number={"purpose": "delivery"}, shoe_size=None)

    claims = rp.obtain_userinfo_claims(claims=wishes)

    assert claims.keys() == {"sub", "name", "email", "phone_number"}


def test_claims_are_asked_for_beside_those_of_the_scope(rp: RelyingParty) -> None:
    """§5.5."""
    claims = rp.obtain_userinfo_claims(scope="openid email", claims=wish(nickname=None))

    assert claims.keys() == {"sub", "email", "email_verified", "nickname"}


def test_a_claim_that_cannot_be_told_is_no_error_though_essential(rp: RelyingParty) -> None:
    """§5.5.1."""
    assert rp.obtain_userinfo_claims(claims=wish(shoe_size={"essential": True})) == {"sub": "ada"}
    assert "code" in redirect_parameters(
        rp.complete_authorization(claims=wish("id_token", auth_time={"essential": True}))
    )


def test_claims_beyond_the_scope_are_consented_to(rp: RelyingParty) -> None:
    """§5.5, §3.1.2.4."""
    rp.complete_authorization()
    asked = rp.authorize(claims=wish(email=None))
    assert "See your email" in rp.get(asked.location).text

    code = redirect_parameters(rp.approve(asked.location, scope=("openid",)))["code"]

    assert rp.call_userinfo(rp.redeem(code).json["access_token"]).json == {"sub": "ada"}


def test_places_and_members_that_are_not_understood_are_ignored(rp: RelyingParty) -> None:
    """§5.5: other members."""
    asked = json.dumps({"verified_claims": {"x": 1}, "userinfo": {"name": {"x": [1]}}, "id_token": None})

    assert rp.obtain_userinfo_claims(claims=asked).keys() == {"sub", "name"}


@pytest.mark.parametrize(
    "claims",
    [
        "x",
        "[]",
        "1",
        '"text"',
        "{",
        '{"userinfo": []}',
        '{"userinfo": 5}',
        '{"id_token": {"sub": "ada"}}',
        '{"id_token": {"sub": {"values": 5}}}',
        '{"id_token": {"acr": {"essential": true, "values": "gold"}}}',
        '{"id_token": {"acr": {"essential": true, "values": null}}}',
        "[" * 2000,
        json.dumps({"userinfo": {"x" * 5000: None}}),
        json.dumps({"userinfo": {str(n): None for n in range(100)}}),
    ],
)
def test_claims_of_a_wrong_shape_are_an_invalid_request(rp: RelyingParty, claims: str) -> None:
    """§5.5, §3.1.2.6."""
    assert redirect_error(rp.authorize(claims=claims)) == "invalid_request"


@pytest.mark.parametrize(
    "claims",
    [
        '{"id_token": {"sub": {"value": ["a", {"b": null}]}}}',
        '{"id_token": {"acr": {"essential": true, "values": [{"a": 1}, null, 1e999]}}}',
        '{"userinfo": {"\\ud800": null, "\\u0000": {"value": NaN}}}',
        '{"userinfo": {"name": {"value": 12345678901234567890}}}',
    ],
)
def test_strange_values_in_claims_are_nobodys_and_no_fault(rp: RelyingParty, claims: str) -> None:
    """§5.5.1."""
    answered = rp.authorize(claims=claims)

    assert answered.status_code == 303
    assert rp.get(answered.location).status_code in {200, 303} or answered.location.startswith(CALLBACK)


class Host:
    """Accounts whose claims come as a host's database has them."""

    def current(self) -> Owner:
        return Owner("maya", auth_time=1.0)

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return "/login"

    def find(self, sub: str) -> Owner:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        return {
            "name": None,
            "nickname": "",
            "given_name": "Maya",
            "updated_at": datetime(2026, 1, 31),
            "email_verified": 1,
            "address": {"postal_code": 1234},
        }


def test_what_a_host_knows_in_another_type_is_left_out(
    make_app: MakeApp, sqlite_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.1, §5.3.2; and the log tells the host which claim it is."""
    rp = register_relying_party(make_app(sqlite_store_url, resource_owner=Host()))
    asked = json.dumps({"id_token": {"given_name": None, "updated_at": None, "name": None}})

    answer = rp.obtain_tokens(scope=ALL_SCOPES, claims=asked)

    assert rp.call_userinfo(answer["access_token"]).json == {"sub": "maya", "given_name": "Maya"}
    told = rp.decode_jwt(answer["id_token"])
    assert told["given_name"] == "Maya" and not {"name", "updated_at"} & told.keys()
    for name in ("updated_at", "email_verified", "address"):
        assert f"the claim {name}" in caplog.text
    caplog.clear()
