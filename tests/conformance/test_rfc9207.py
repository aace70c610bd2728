"""RFC 9207: Authorization Server Issuer Identification."""

from __future__ import annotations

from tests.conformance.conftest import registered_at, settle
from tests.conformance.relying_party import RelyingParty, fields_of
from tests.conftest import MakeApp
from tests.support.vocabulary import ISSUER, query_of


def test_an_answer_with_a_code_names_the_issuer(rp: RelyingParty) -> None:
    """§2."""
    assert query_of(rp.authorize())["iss"] == ISSUER
    assert query_of(rp.authorize(scope="profile"))["iss"] == ISSUER


def test_an_answer_with_an_error_names_the_issuer(rp: RelyingParty) -> None:
    """§2: error responses too."""
    denied = rp.answer(rp.ask().location, decision="deny")
    refusals = [
        denied,
        rp.ask(response_type="token"),
        rp.ask(request="x"),
        rp.ask(scope="root"),
        rp.ask(state=None, prompt="none login"),
    ]

    assert {query_of(refusal)["iss"] for refusal in refusals} == {ISSUER}
    assert all("error" in query_of(refusal) for refusal in refusals)


def test_the_issuer_is_in_the_form_too(rp: RelyingParty) -> None:
    """§2, Form Post Response Mode §2."""
    assert fields_of(rp.authorize(response_mode="form_post"))["iss"] == ISSUER


def test_metadata_says_so_and_names_the_same_issuer(rp: RelyingParty) -> None:
    """§2.3, §3."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        found = rp.get(path).json
        assert found["authorization_response_iss_parameter_supported"] is True
        assert found["issuer"] == ISSUER


def test_an_issuer_with_a_path_is_named_whole(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§2.1: character by character that of the metadata."""
    app = make_app(sqlite_store_url, issuer=f"{ISSUER}/tenant")
    settle(app)
    rp = registered_at(app)

    refused = rp.get("/tenant/oauth/authorize", query_string=rp.asked(prompt="none"))

    assert query_of(refused)["iss"] == f"{ISSUER}/tenant"
