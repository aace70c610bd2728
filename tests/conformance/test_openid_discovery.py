"""OpenID Connect Discovery 1.0: what a relying party finds out by itself."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo

from tests.conformance.relying_party import (
    ADA_CLAIMS,
    MakeRelyingParty,
    RelyingParty,
    create_accounts,
    register_relying_party,
)
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER, redirect_parameters
from tests.support.clock import Clock
from valetkey.cli.keys import keys
from valetkey.cli.resources import resources

WELL_KNOWN = "/.well-known/openid-configuration"
TRIED = {  # every value that is told, by the tests of this file or of the one that is named
    "response_types_supported": {"code"},
    "response_modes_supported": {"query", "form_post"},
    "grant_types_supported": {  # tests/interop/test_oauth4webapi.py
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    },
    "subject_types_supported": {"public", "pairwise"},
    "acr_values_supported": {"urn:valetkey:acr:password"},
    "prompt_values_supported": {"none", "login", "consent", "select_account"},
    "display_values_supported": {"page", "popup", "touch", "wap"},
    "claim_types_supported": {"normal"},
    "code_challenge_methods_supported": {"S256"},
    # test_openid_core_tokens.py, and tests/interop/test_openid_client.py by a client's own judgement
    "id_token_signing_alg_values_supported": {"RS256", "ES256", "PS256", "Ed25519", "EdDSA"},
    "userinfo_signing_alg_values_supported": {"RS256", "ES256", "PS256", "Ed25519", "EdDSA"},
    # tests/interop/test_oauth4webapi.py
    **{
        f"{endpoint}_endpoint_auth_{what}": values
        for endpoint in ("token", "revocation", "introspection")
        for what, values in (
            (
                "methods_supported",
                {"client_secret_basic", "client_secret_post", "private_key_jwt"}
                | ({"none"} if endpoint != "introspection" else set()),
            ),
            ("signing_alg_values_supported", {"ES256", "Ed25519", "EdDSA", "PS256", "RS256"}),
        )
    },
}
DOCUMENTS = [WELL_KNOWN, "/.well-known/oauth-authorization-server", "/oauth/jwks"]


@pytest.fixture
def found(rp: RelyingParty) -> dict[str, Any]:
    return dict(rp.get(WELL_KNOWN).json or {})


def test_every_required_member_is_there(found: dict[str, Any]) -> None:
    """§3."""
    required = ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"]
    lists = ["response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"]

    assert all(isinstance(found[name], str) for name in required)
    assert all(isinstance(found[name], list) and found[name] for name in lists)


def test_every_recommended_member_is_there(found: dict[str, Any]) -> None:
    """§3: userinfo_endpoint, scopes_supported, claims_supported."""
    assert found["userinfo_endpoint"] == f"{ISSUER}/oauth/userinfo"
    assert {"openid", "profile", "email", "address", "phone", "offline_access"} <= set(found["scopes_supported"])
    assert {"sub", "name", "email", *ADA_CLAIMS} <= set(found["claims_supported"])


def test_rs256_is_among_the_algorithms_and_none_is_not(found: dict[str, Any]) -> None:
    """§3: id_token_signing_alg_values_supported."""
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert "none" not in found["id_token_signing_alg_values_supported"]


def test_the_issuer_is_that_of_the_id_token(rp: RelyingParty, found: dict[str, Any]) -> None:
    """§4.3, §7.2: exactly."""
    assert found["issuer"] == rp.obtain_id_token_claims()["iss"] == ISSUER


def test_what_defaults_to_true_and_is_not_served_is_denied(found: dict[str, Any]) -> None:
    """§3: request_uri_parameter_supported."""
    assert found["request_uri_parameter_supported"] is False
    assert found["request_parameter_supported"] is False


def test_both_subject_types_are_told(found: dict[str, Any]) -> None:
    """§3: subject_types_supported."""
    assert found["subject_types_supported"] == ["public", "pairwise"]


def test_every_response_mode_that_is_told_works(rp: RelyingParty, found: dict[str, Any]) -> None:
    """§3: response_modes_supported."""
    assert found["response_modes_supported"] == ["query", "form_post"]
    rp.complete_authorization()
    assert redirect_parameters(rp.authorize(response_mode="query"))["code"]
    assert 'name="code"' in rp.authorize(response_mode="form_post").text


def test_every_prompt_and_acr_that_is_told_is_answered(rp: RelyingParty, found: dict[str, Any], clock: Clock) -> None:
    """§3, Initiating User Registration §4."""
    rp.complete_authorization()
    for prompt in found["prompt_values_supported"]:
        clock.forward(seconds=1)
        assert redirect_parameters(rp.complete_authorization(prompt=prompt))["code"]
    assert (
        rp.obtain_id_token_claims(acr_values=found["acr_values_supported"][0])["acr"] in found["acr_values_supported"]
    )


def test_nothing_is_told_that_is_not_tried(found: dict[str, Any]) -> None:
    """§3: what is advertised works."""
    told = {name: set(value) for name, value in found.items() if name.endswith("_supported") and type(value) is list}
    by_persons = {"claims_supported", "scopes_supported"}

    assert {name: told[name] for name in told.keys() - by_persons} == TRIED


def test_every_claim_is_told_of_somebody_of_whom_all_is_known(rp: RelyingParty, found: dict[str, Any]) -> None:
    """§3: claims_supported, scopes_supported."""
    answer = rp.obtain_tokens(scope=" ".join(found["scopes_supported"]))

    assert set(answer["scope"].split()) == set(found["scopes_supported"])
    told = rp.decode_jwt(answer["id_token"]).keys() | rp.call_userinfo(answer["access_token"]).json.keys()
    assert set(found["claims_supported"]) <= told


def test_every_display_and_subject_type_is_served(
    rp: RelyingParty, make_relying_party: MakeRelyingParty, found: dict[str, Any]
) -> None:
    """§3: display_values_supported, subject_types_supported."""
    for display in found["display_values_supported"]:
        assert "code" in redirect_parameters(rp.complete_authorization(display=display))
    subs = {kind: _sub(make_relying_party(members={"subject_type": kind})) for kind in found["subject_types_supported"]}

    assert subs["public"] == "ada" != subs["pairwise"]


def _sub(party: RelyingParty) -> str:
    return str(party.obtain_id_token_claims()["sub"])


def test_no_member_is_null_or_empty(found: dict[str, Any]) -> None:
    """§4.2: claims with zero elements are left out."""
    assert all(value is not None and value != [] for value in found.values())


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_is_json_for_every_origin(rp: RelyingParty, path: str) -> None:
    """§4.2."""
    answered = rp.get(path)

    assert (answered.status_code, answered.content_type) == (200, "application/json")
    assert answered.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_may_be_cached_and_asked_for_again_by_its_tag(rp: RelyingParty, path: str, clock: Clock) -> None:
    """RFC 9111 §5.2, RFC 9110 §13.1.2; Core §10.1.1: keys are cached."""
    first = rp.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=300"

    again = rp.get(path, headers={"If-None-Match": first.headers["ETag"]})
    other = rp.get(path, headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (other.status_code, other.data) == (200, first.data)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_may_be_asked_for_with_the_headers_of_mcp_clients(rp: RelyingParty, path: str) -> None:
    """Fetch §4.8: a browser asks first whether MCP-Protocol-Version may be sent."""
    asked = rp.http.options(path, headers={"Access-Control-Request-Headers": "mcp-protocol-version"})

    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "MCP-Protocol-Version" in asked.headers["Access-Control-Allow-Headers"]
    assert "GET" in asked.headers["Access-Control-Allow-Methods"]


def test_a_document_hears_of_what_another_process_changed(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    """§3, Core §10.1.1: documents are made once, and again when keys or resources change."""
    here, there = (make_app(sqlite_store_url) for _ in range(2))
    http = here.test_client()
    before = {path: http.get(path).headers["ETag"] for path in DOCUMENTS}
    assert {path: http.get(path).headers["ETag"] for path in DOCUMENTS} == before

    for group, arguments in ((keys, ["rotate"]), (resources, ["create", "https://notes.example"])):
        done = CliRunner().invoke(group, arguments, obj=ScriptInfo(create_app=lambda: there))
        assert done.exit_code == 0, done.output
    clock.forward(seconds=0.6)

    assert all(http.get(path).headers["ETag"] != before[path] for path in DOCUMENTS)
    assert len(http.get("/oauth/jwks").json["keys"]) == 4


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_answers_head(rp: RelyingParty, path: str) -> None:
    """RFC 9110 §9.3.2."""
    told = rp.http.head(path)

    assert (told.status_code, told.data) == (200, b"")
    assert told.headers["ETag"] == rp.get(path).headers["ETag"]


def test_keys_have_what_a_relying_party_chooses_them_by(rp: RelyingParty) -> None:
    """§3: jwks_uri, Core §10.1; public halves only."""
    published = rp.get("/oauth/jwks").json["keys"]

    assert {(key["kty"], key["alg"]) for key in published} == {("EC", "ES256"), ("RSA", "RS256")}
    assert {key["use"] for key in published} == {"sig"}
    assert len({key["kid"] for key in published}) == len(published)
    assert all(not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys() for key in published)


def test_an_issuer_with_a_path_is_found_below_it(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§4: the well-known part comes after the path."""
    issuer = f"{ISSUER}/tenant"
    app = make_app(sqlite_store_url, issuer=issuer)
    create_accounts(app)
    http = app.test_client()

    found = http.get(f"/tenant{WELL_KNOWN}").json

    assert found["issuer"] == issuer
    for name, url in found.items():
        if name.endswith(("_endpoint", "jwks_uri")):
            assert url.startswith(f"{issuer}/oauth/")
            assert http.get(url.removeprefix(ISSUER)).status_code != 404
    assert register_relying_party(app).get("/tenant/oauth/jwks").status_code == 200


def test_the_document_does_not_follow_the_host_header(rp: RelyingParty) -> None:
    """§7.2: an attacker could put another issuer in."""
    answered = rp.get(WELL_KNOWN, headers={"Host": "evil.example"})

    assert "evil.example" not in answered.text
