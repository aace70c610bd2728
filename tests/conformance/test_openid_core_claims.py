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


def claims_parameter(destination: str = "userinfo", **members: Any) -> str:
    """Return a ``claims`` parameter that requests these claims in userinfo or in the ID token."""
    return json.dumps({destination: members})


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_returns_its_claims_and_no_others(rp: RelyingParty, scope: str) -> None:
    """§5.4."""
    assert rp.obtain_userinfo_claims(scope=f"openid {scope}").keys() == {"sub", *SCOPES[scope]}


def test_all_scopes_together_return_all_claims_in_their_json_types(rp: RelyingParty) -> None:
    """§5.1, §5.1.1."""
    claims = rp.obtain_userinfo_claims(scope=ALL_SCOPES)

    assert claims == {"sub": "ada", "name": "Ada Lovelace", "email": "ada@example.org", **ADA_CLAIMS}
    assert claims["email_verified"] is True
    assert claims["phone_number_verified"] is False
    assert isinstance(claims["address"], dict)
    assert isinstance(claims["updated_at"], int)


def test_with_openid_alone_userinfo_returns_only_the_subject(rp: RelyingParty) -> None:
    """§5.3.2: sub is always present and is the same as in the ID token."""
    tokens = rp.obtain_tokens()

    assert rp.call_userinfo(tokens["access_token"]).json == {"sub": rp.decode_jwt(tokens["id_token"])["sub"]}


def test_a_claim_without_a_value_is_omitted_and_not_null(make_relying_party: MakeRelyingParty) -> None:
    """§5.3.2: it is neither null nor an empty string."""
    rp = make_relying_party()
    rp.sign_in_as("bob")

    claims = rp.obtain_userinfo_claims(scope=ALL_SCOPES, user_sub="bob")

    created_at = int(rp.runtime.clock())
    assert claims == {"sub": "bob", "email": "bob@example.org", "email_verified": False, "updated_at": created_at}


def test_an_unverified_phone_number_and_email_are_marked_as_unverified(
    provider: Flask, make_relying_party: MakeRelyingParty
) -> None:
    """§5.1: phone_number_verified, email_verified."""
    rp, phone_claims = make_relying_party(), {"phone_number": "+1 555 0100"}
    account = accounts.add("eve", "eve@example.org", "Eve", None, rp.runtime.clock(), claims=phone_claims)
    assert rp.runtime.store.write(Transaction(account))
    rp.sign_in_as("eve")

    claims = rp.obtain_userinfo_claims(scope="openid email phone", user_sub="eve")

    assert (claims["phone_number_verified"], claims["email_verified"]) == (False, False)


def test_userinfo_supports_get_post_with_a_header_and_post_with_a_form(rp: RelyingParty) -> None:
    """§5.3, §5.3.1, RFC 6750 §2.1, §2.2."""
    token = rp.obtain_tokens(scope="openid email")["access_token"]

    responses = [
        rp.call_userinfo(token),
        rp.call_userinfo(token, "POST"),
        rp.call_userinfo(token, "POST", content_type="application/json"),  # without a body
        rp.call_userinfo(token, "POST", data={"schema": "openid"}),
        rp.http.post("/oauth/userinfo", data={"access_token": token}),
    ]

    assert [response.status_code for response in responses] == [200] * 5
    assert {response.text for response in responses} == {responses[0].text}
    assert responses[0].content_type == "application/json"
    assert responses[0].headers["Cache-Control"] == "no-store"


def test_userinfo_supports_head(rp: RelyingParty) -> None:
    """RFC 9110 §9.3.2: HEAD has the status and headers of GET, without a body."""
    token = rp.obtain_tokens()["access_token"]

    response, refused = rp.call_userinfo(token, "HEAD"), rp.http.head("/oauth/userinfo")

    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(rp.call_userinfo(token).data))
    assert (refused.status_code, refused.data) == (401, b"")
    assert refused.headers["WWW-Authenticate"] == rp.get("/oauth/userinfo").headers["WWW-Authenticate"]


def test_userinfo_reads_the_claims_again_after_half_a_second(rp: RelyingParty, clock: Clock) -> None:
    """§5.3: the response is cached for simultaneous requests, but not longer than a revocation takes."""
    token = rp.obtain_tokens(scope="openid email")["access_token"]
    assert rp.call_userinfo(token).json["email"] == "ada@example.org"
    with closing(sqlite3.connect(rp.runtime.settings.store_url.removeprefix("sqlite:///"))) as store, store:
        store.execute("UPDATE valetkey_accounts SET email = 'ada@home.example' WHERE sub = 'ada'")

    clock.forward(seconds=0.6)

    assert rp.call_userinfo(token).json["email"] == "ada@home.example"


def test_a_token_sent_twice_or_in_the_query_is_refused(rp: RelyingParty) -> None:
    """RFC 6750 §2, RFC 9700 §4.3.2."""
    token = rp.obtain_tokens()["access_token"]

    response = rp.call_userinfo(token, "POST", data={"access_token": token})

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")
    assert rp.get(f"/oauth/userinfo?access_token={token}").status_code == 401


def test_scripts_of_any_origin_may_call_userinfo(rp: RelyingParty) -> None:
    """§5.3: CORS."""
    preflight = rp.http.options("/oauth/userinfo", headers={"Origin": "https://spa.example"})

    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    refused = rp.get("/oauth/userinfo")
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]
    assert rp.call_userinfo(rp.obtain_tokens()["access_token"]).headers["Access-Control-Allow-Origin"] == "*"


def test_without_a_token_the_challenge_has_no_error(rp: RelyingParty) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.get("/oauth/userinfo")

    assert (refused.status_code, refused.json) == (
        401,
        {"error": "invalid_token", "error_description": "an access token is required"},
    )
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="userinfo"'


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_malformed_token_is_an_invalid_token(rp: RelyingParty, token: str) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.call_userinfo(token)

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_an_expired_token_is_an_invalid_token(rp: RelyingParty, clock: Clock) -> None:
    """§5.3.3."""
    token = rp.obtain_tokens()["access_token"]
    clock.forward(seconds=15 * 60)

    assert 'error="invalid_token"' in rp.call_userinfo(token).headers["WWW-Authenticate"]


def test_a_token_without_openid_has_insufficient_scope(rp: RelyingParty) -> None:
    """§5.3.3, RFC 6750 §3.1."""
    refused = rp.call_userinfo(rp.obtain_tokens(scope="profile")["access_token"])

    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="openid"' in refused.headers["WWW-Authenticate"]


def test_a_client_credentials_token_is_refused_by_userinfo(make_relying_party: MakeRelyingParty) -> None:
    """§5.3: userinfo is about the user who signed in."""
    machine_client = make_relying_party("machine", redirect_uris=[])

    for scope in ("openid profile", "profile", None):
        token = machine_client.request_token("client_credentials", **({"scope": scope} if scope else {})).json[
            "access_token"
        ]
        assert machine_client.call_userinfo(token).status_code in {401, 403}


def test_the_token_of_a_disabled_user_is_refused_by_userinfo(rp: RelyingParty, clock: Clock) -> None:
    """§5.3.3."""
    token = rp.obtain_tokens()["access_token"]
    account = accounts.find(rp.runtime.store, "ada")
    assert account is not None
    rp.runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", clock.time),)))

    assert rp.call_userinfo(token).status_code == 401


def test_signed_userinfo_contains_issuer_and_audience(make_relying_party: MakeRelyingParty) -> None:
    """§5.3.2, Registration §2: userinfo_signed_response_alg."""
    for algorithm in ("RS256", "ES256"):
        rp = make_relying_party(members={"userinfo_signed_response_alg": algorithm})
        response = rp.call_userinfo(rp.obtain_tokens(scope="openid email")["access_token"])

        assert response.content_type == "application/jwt"
        claims = rp.decode_jwt(response.text)
        assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, rp.client.client_id, "ada")
        assert claims["email"] == "ada@example.org"


def test_individually_requested_claims_are_returned_by_userinfo(rp: RelyingParty) -> None:
    """§5.5, §5.5.1: null, essential and unknown members."""
    requested = claims_parameter(
        name={"essential": True}, email=None, phone_number={"purpose": "delivery"}, shoe_size=None
    )

    claims = rp.obtain_userinfo_claims(claims=requested)

    assert claims.keys() == {"sub", "name", "email", "phone_number"}


def test_requested_claims_are_added_to_those_of_the_scope(rp: RelyingParty) -> None:
    """§5.5."""
    claims = rp.obtain_userinfo_claims(scope="openid email", claims=claims_parameter(nickname=None))

    assert claims.keys() == {"sub", "email", "email_verified", "nickname"}


def test_an_essential_claim_without_a_value_is_not_an_error(rp: RelyingParty) -> None:
    """§5.5.1."""
    assert rp.obtain_userinfo_claims(claims=claims_parameter(shoe_size={"essential": True})) == {"sub": "ada"}
    assert "code" in redirect_parameters(
        rp.complete_authorization(claims=claims_parameter("id_token", auth_time={"essential": True}))
    )


def test_claims_beyond_the_scope_require_consent(rp: RelyingParty) -> None:
    """§5.5, §3.1.2.4."""
    rp.complete_authorization()
    redirect = rp.authorize(claims=claims_parameter(email=None))
    assert "See your email" in rp.get(redirect.location).text

    code = redirect_parameters(rp.approve(redirect.location, scope=("openid",)))["code"]

    assert rp.call_userinfo(rp.redeem(code).json["access_token"]).json == {"sub": "ada"}


def test_unknown_members_of_the_claims_parameter_are_ignored(rp: RelyingParty) -> None:
    """§5.5: other members of the request."""
    requested = json.dumps({"verified_claims": {"x": 1}, "userinfo": {"name": {"x": [1]}}, "id_token": None})

    assert rp.obtain_userinfo_claims(claims=requested).keys() == {"sub", "name"}


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
def test_a_malformed_claims_parameter_is_an_invalid_request(rp: RelyingParty, claims: str) -> None:
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
def test_requested_values_of_an_unexpected_type_cause_no_server_error(rp: RelyingParty, claims: str) -> None:
    """§5.5.1."""
    response = rp.authorize(claims=claims)

    assert response.status_code == 303
    assert rp.get(response.location).status_code in {200, 303} or response.location.startswith(CALLBACK)


class Host:
    """A host's accounts whose claims have the types of its database, not those of OpenID Connect."""

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
            "website": "javascript:alert(1)",
            "address": {"postal_code": 1234},
        }


def test_a_hosts_claim_with_a_wrong_type_is_omitted_and_logged(
    make_app: MakeApp, sqlite_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.1, §5.3.2; the log names the claim."""
    rp = register_relying_party(make_app(sqlite_store_url, resource_owner=Host()))
    requested = json.dumps({"id_token": {"given_name": None, "updated_at": None, "name": None}})

    tokens = rp.obtain_tokens(scope=ALL_SCOPES, claims=requested)

    assert rp.call_userinfo(tokens["access_token"]).json == {"sub": "maya", "given_name": "Maya"}
    id_token_claims = rp.decode_jwt(tokens["id_token"])
    assert id_token_claims["given_name"] == "Maya" and not {"name", "updated_at"} & id_token_claims.keys()
    for name in ("updated_at", "email_verified", "website", "address"):
        assert f"the claim {name}" in caplog.text
    caplog.clear()
