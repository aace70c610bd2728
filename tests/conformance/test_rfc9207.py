"""RFC 9207: Authorization Server Issuer Identification."""

from __future__ import annotations

from tests.conformance.relying_party import RelyingParty, create_accounts, hidden_fields, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER, redirect_parameters


def test_a_response_with_a_code_has_the_issuer(rp: RelyingParty) -> None:
    """§2."""
    assert redirect_parameters(rp.complete_authorization())["iss"] == ISSUER
    assert redirect_parameters(rp.complete_authorization(scope="profile"))["iss"] == ISSUER


def test_a_response_with_an_error_has_the_issuer(rp: RelyingParty) -> None:
    """§2: error responses too."""
    denied = rp.deny(rp.authorize().location)
    refusals = [
        denied,
        rp.authorize(response_type="token"),
        rp.authorize(request="x"),
        rp.authorize(scope="root"),
        rp.authorize(state=None, prompt="none login"),
    ]

    assert {redirect_parameters(refusal)["iss"] for refusal in refusals} == {ISSUER}
    assert all("error" in redirect_parameters(refusal) for refusal in refusals)


def test_a_form_post_response_has_the_issuer(rp: RelyingParty) -> None:
    """§2, Form Post Response Mode §2."""
    assert hidden_fields(rp.complete_authorization(response_mode="form_post"))["iss"] == ISSUER


def test_metadata_advertises_the_parameter_and_has_the_same_issuer(rp: RelyingParty) -> None:
    """§2.3, §3."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        metadata = rp.get(path).json
        assert metadata["authorization_response_iss_parameter_supported"] is True
        assert metadata["issuer"] == ISSUER


def test_the_parameter_is_the_whole_issuer_including_its_path(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§2.1: identical to the issuer in the metadata."""
    app = make_app(sqlite_store_url, issuer=f"{ISSUER}/tenant")
    create_accounts(app)
    rp = register_relying_party(app)

    refused = rp.get("/tenant/oauth/authorize", query_string=rp.authorization_parameters(prompt="none"))

    assert redirect_parameters(refused)["iss"] == f"{ISSUER}/tenant"
