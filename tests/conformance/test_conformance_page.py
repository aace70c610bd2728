"""docs/conformance.md is up to date and consistent with the metadata and the pages."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import valetkey
from tests.conformance.relying_party import RelyingParty, redirect_error

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(valetkey.__file__).parent
# IANA's registry of OAuth authorization server metadata, with OpenID Connect Discovery and Logout.
REGISTERED_METADATA = frozenset(
    [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "registration_endpoint",
        "scopes_supported",
        "response_types_supported",
        "response_modes_supported",
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
        "code_challenge_methods_supported",
        "device_authorization_endpoint",
        "authorization_response_iss_parameter_supported",
        "acr_values_supported",
        "protected_resources",
        "client_id_metadata_document_supported",
        "userinfo_endpoint",
        "end_session_endpoint",
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
        "frontchannel_logout_supported",
        "frontchannel_logout_session_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "userinfo_signing_alg_values_supported",
        "claim_types_supported",
        "claims_supported",
        "prompt_values_supported",
        "display_values_supported",
        "claims_parameter_supported",
        "request_parameter_supported",
        "request_uri_parameter_supported",
    ]
)
WRITER: dict[str, Any] = runpy.run_path(str(DOCS / "write_conformance.py"))


def test_conformance_md_is_generated_from_the_tests() -> None:
    assert (DOCS / "conformance.md").read_text() == WRITER["text"](), "run: python docs/write_conformance.py"


def test_features_that_are_listed_as_not_offered_are_not_in_the_metadata(rp: RelyingParty) -> None:
    """If this fails, the feature is offered: remove its row from NOT_OFFERED in docs/write_conformance.py."""
    metadata = rp.get("/.well-known/openid-configuration").json

    for feature, metadata_entry, _ in WRITER["NOT_OFFERED"]:
        member, _, value = metadata_entry.partition("=")
        assert value not in metadata.get(member, []) if value else member not in metadata, feature


def test_the_elements_and_sentences_in_the_suites_browser_commands_exist_on_the_pages(rp: RelyingParty) -> None:
    """Each element that the suite fills in or clicks is in docs/pages.md, which other tests compare with the pages."""
    browser, overrides = map(json.loads, re.findall(r"```json\n(.*?)```", (DOCS / "conformance.md").read_text(), re.S))
    pages = [*browser, *(page for module in overrides["override"].values() for page in module["browser"])]
    commands = [command for page in pages for task in page["tasks"] for command in task["commands"]]
    element_ids = re.findall(r"^\| `#?([^`]+)` \|", (DOCS / "pages.md").read_text(), re.M)

    assert {command[2] for command in commands if command[0] in {"text", "click"}} <= {*element_ids}
    templates = "".join(path.read_text() for path in PACKAGE.rglob("*.html"))
    refusal = rp.get("/oauth/authorize?client_id=unknown").text
    for sentence in (command[4] for command in commands if command[-1] == "update-image-placeholder"):
        assert sentence in templates or sentence in refusal, sentence


def test_metadata_members_of_no_specification_are_named_as_extensions(rp: RelyingParty) -> None:
    metadata = rp.get("/.well-known/openid-configuration").json

    named = re.findall(r"metadata member `(\w+)`", str(WRITER["EXTENSIONS"]))
    assert {member for member in metadata if member in named} == {"limits_endpoint"}
    assert metadata.keys() - REGISTERED_METADATA - {*named} == set()


def test_a_request_object_is_refused_in_the_query_whatever_response_mode_it_contains(rp: RelyingParty) -> None:
    """The page says so; if this fails, the certification profile Form Post OP may be met."""
    response = rp.authorize(request="eyJhbGciOiJub25lIn0.eyJyZXNwb25zZV9tb2RlIjoiZm9ybV9wb3N0In0.")

    assert (response.status_code, redirect_error(response)) == (303, "request_not_supported")
