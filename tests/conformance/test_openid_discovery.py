"""OpenID Connect Discovery 1.0: the provider's metadata."""

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
TESTED = {  # every listed value; tested in this file or in the file named in a comment
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
    # test_openid_core_tokens.py, and with another project's client in tests/interop/test_openid_client.py
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
def metadata(rp: RelyingParty) -> dict[str, Any]:
    return dict(rp.get(WELL_KNOWN).json or {})


def test_every_required_member_is_present(metadata: dict[str, Any]) -> None:
    """§3."""
    required = ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"]
    lists = ["response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"]

    assert all(isinstance(metadata[name], str) for name in required)
    assert all(isinstance(metadata[name], list) and metadata[name] for name in lists)


def test_every_recommended_member_is_present(metadata: dict[str, Any]) -> None:
    """§3: userinfo_endpoint, scopes_supported, claims_supported."""
    assert metadata["userinfo_endpoint"] == f"{ISSUER}/oauth/userinfo"
    assert {"openid", "profile", "email", "address", "phone", "offline_access"} <= set(metadata["scopes_supported"])
    assert {"sub", "name", "email", *ADA_CLAIMS} <= set(metadata["claims_supported"])


def test_rs256_is_a_supported_signing_algorithm_and_none_is_not(metadata: dict[str, Any]) -> None:
    """§3: id_token_signing_alg_values_supported."""
    assert "RS256" in metadata["id_token_signing_alg_values_supported"]
    assert "none" not in metadata["id_token_signing_alg_values_supported"]


def test_the_issuer_is_the_same_as_in_the_id_token(rp: RelyingParty, metadata: dict[str, Any]) -> None:
    """§4.3, §7.2: exact match."""
    assert metadata["issuer"] == rp.obtain_id_token_claims()["iss"] == ISSUER


def test_unsupported_features_that_default_to_true_are_false(metadata: dict[str, Any]) -> None:
    """§3: request_uri_parameter_supported."""
    assert metadata["request_uri_parameter_supported"] is False
    assert metadata["request_parameter_supported"] is False


def test_both_subject_types_are_listed(metadata: dict[str, Any]) -> None:
    """§3: subject_types_supported."""
    assert metadata["subject_types_supported"] == ["public", "pairwise"]


def test_every_listed_response_mode_works(rp: RelyingParty, metadata: dict[str, Any]) -> None:
    """§3: response_modes_supported."""
    assert metadata["response_modes_supported"] == ["query", "form_post"]
    rp.complete_authorization()
    assert redirect_parameters(rp.authorize(response_mode="query"))["code"]
    assert 'name="code"' in rp.authorize(response_mode="form_post").text


def test_every_listed_prompt_and_acr_value_works(rp: RelyingParty, metadata: dict[str, Any], clock: Clock) -> None:
    """§3, Initiating User Registration §4."""
    rp.complete_authorization()
    for prompt in metadata["prompt_values_supported"]:
        clock.forward(seconds=1)
        assert redirect_parameters(rp.complete_authorization(prompt=prompt))["code"]
    assert (
        rp.obtain_id_token_claims(acr_values=metadata["acr_values_supported"][0])["acr"]
        in metadata["acr_values_supported"]
    )


def test_every_listed_value_is_tested(metadata: dict[str, Any]) -> None:
    """§3: what is advertised works."""
    listed = {
        name: set(value) for name, value in metadata.items() if name.endswith("_supported") and type(value) is list
    }
    tested_below = {"claims_supported", "scopes_supported"}

    assert {name: listed[name] for name in listed.keys() - tested_below} == TESTED


def test_every_listed_claim_and_scope_is_returned_for_a_user_with_all_claims(
    rp: RelyingParty, metadata: dict[str, Any]
) -> None:
    """§3: claims_supported, scopes_supported."""
    tokens = rp.obtain_tokens(scope=" ".join(metadata["scopes_supported"]))

    assert set(tokens["scope"].split()) == set(metadata["scopes_supported"])
    claims = rp.decode_jwt(tokens["id_token"]).keys() | rp.call_userinfo(tokens["access_token"]).json.keys()
    assert set(metadata["claims_supported"]) <= claims


def test_every_listed_display_value_and_subject_type_works(
    rp: RelyingParty, make_relying_party: MakeRelyingParty, metadata: dict[str, Any]
) -> None:
    """§3: display_values_supported, subject_types_supported."""
    for display in metadata["display_values_supported"]:
        assert "code" in redirect_parameters(rp.complete_authorization(display=display))
    subs = {
        subject_type: _sub(make_relying_party(members={"subject_type": subject_type}))
        for subject_type in metadata["subject_types_supported"]
    }

    assert subs["public"] == "ada" != subs["pairwise"]


def _sub(party: RelyingParty) -> str:
    return str(party.obtain_id_token_claims()["sub"])


def test_no_member_is_null_or_empty(metadata: dict[str, Any]) -> None:
    """§4.2: claims with zero elements are omitted."""
    assert all(value is not None and value != [] for value in metadata.values())


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_is_json_for_every_origin(rp: RelyingParty, path: str) -> None:
    """§4.2."""
    response = rp.get(path)

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_may_be_cached_and_revalidated_by_its_etag(rp: RelyingParty, path: str, clock: Clock) -> None:
    """RFC 9111 §5.2, RFC 9110 §13.1.2; Core §10.1.1: keys are cached."""
    first = rp.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=300"

    revalidated = rp.get(path, headers={"If-None-Match": first.headers["ETag"]})
    outdated = rp.get(path, headers={"If-None-Match": '"other"'})

    assert (revalidated.status_code, revalidated.data) == (304, b"")
    assert revalidated.headers["ETag"] == first.headers["ETag"]
    assert (outdated.status_code, outdated.data) == (200, first.data)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_may_be_fetched_with_the_headers_of_mcp_clients(rp: RelyingParty, path: str) -> None:
    """Fetch §4.8: a browser sends a preflight request for MCP-Protocol-Version."""
    preflight = rp.http.options(path, headers={"Access-Control-Request-Headers": "mcp-protocol-version"})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "mcp-protocol-version" in preflight.headers["Access-Control-Allow-Headers"]
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]


def test_a_document_contains_changes_of_another_process(make_app: MakeApp, sqlite_store_url: str, clock: Clock) -> None:
    """§3, Core §10.1.1: documents are built once, and again when keys or resources change."""
    app, other_process = (make_app(sqlite_store_url) for _ in range(2))
    http = app.test_client()
    before = {path: http.get(path).headers["ETag"] for path in DOCUMENTS}
    assert {path: http.get(path).headers["ETag"] for path in DOCUMENTS} == before

    for group, arguments in ((keys, ["rotate"]), (resources, ["create", "https://notes.example"])):
        result = CliRunner().invoke(group, arguments, obj=ScriptInfo(create_app=lambda: other_process))
        assert result.exit_code == 0, result.output
    clock.forward(seconds=0.6)

    assert all(http.get(path).headers["ETag"] != before[path] for path in DOCUMENTS)
    assert len(http.get("/oauth/jwks").json["keys"]) == 4


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_supports_head(rp: RelyingParty, path: str) -> None:
    """RFC 9110 §9.3.2."""
    response = rp.http.head(path)

    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["ETag"] == rp.get(path).headers["ETag"]


def test_keys_have_the_members_by_which_a_relying_party_selects_them(rp: RelyingParty) -> None:
    """§3: jwks_uri, Core §10.1; without the private parts."""
    published = rp.get("/oauth/jwks").json["keys"]

    assert {(key["kty"], key["alg"]) for key in published} == {("EC", "ES256"), ("RSA", "RS256")}
    assert {key["use"] for key in published} == {"sig"}
    assert len({key["kid"] for key in published}) == len(published)
    assert all(not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys() for key in published)


def test_the_document_of_an_issuer_with_a_path_is_below_that_path(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§4: the well-known part comes after the path."""
    issuer = f"{ISSUER}/tenant"
    app = make_app(sqlite_store_url, issuer=issuer)
    create_accounts(app)
    http = app.test_client()

    metadata = http.get(f"/tenant{WELL_KNOWN}").json

    assert metadata["issuer"] == issuer
    for name, url in metadata.items():
        if name.endswith(("_endpoint", "jwks_uri")):
            assert url.startswith(f"{issuer}/oauth/")
            assert http.get(url.removeprefix(ISSUER)).status_code != 404
    assert register_relying_party(app).get("/tenant/oauth/jwks").status_code == 200


def test_the_document_does_not_depend_on_the_host_header(rp: RelyingParty) -> None:
    """§7.2: an attacker could insert another issuer."""
    response = rp.get(WELL_KNOWN, headers={"Host": "evil.example"})

    assert "evil.example" not in response.text
