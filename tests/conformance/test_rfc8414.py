"""RFC 8414: OAuth 2.0 Authorization Server Metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER

WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.fixture
def found(rp: RelyingParty) -> dict[str, Any]:
    return dict(rp.get(WELL_KNOWN).json or {})


def test_every_required_member_is_there(found: dict[str, Any]) -> None:
    """§2."""
    assert found["issuer"] == ISSUER
    assert found["response_types_supported"] == ["code"]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert found[name].startswith(ISSUER) and "#" not in found[name]


def test_what_differs_from_the_defaults_is_told(found: dict[str, Any]) -> None:
    """§2: grant_types_supported, response_modes_supported and auth methods have defaults that are not ours."""
    assert "implicit" not in found["grant_types_supported"]
    assert "fragment" not in found["response_modes_supported"]
    assert {"client_secret_basic", "client_secret_post", "none"} <= {*found["token_endpoint_auth_methods_supported"]}
    assert found["code_challenge_methods_supported"] == ["S256"]
    for endpoint in ("revocation", "introspection"):
        assert found[f"{endpoint}_endpoint_auth_methods_supported"]


def test_signing_algorithms_are_told_where_a_method_signs(found: dict[str, Any]) -> None:
    """§2: required beside private_key_jwt, and never none."""
    for endpoint in ("token", "revocation", "introspection"):
        signs = "private_key_jwt" in found[f"{endpoint}_endpoint_auth_methods_supported"]
        algorithms = found.get(f"{endpoint}_endpoint_auth_signing_alg_values_supported", [])
        assert bool(algorithms) == signs and "none" not in algorithms


def test_no_member_is_null_or_empty(found: dict[str, Any]) -> None:
    """§3.2: claims with zero elements are left out."""
    assert all(value is not None and value != [] for value in found.values())


def test_the_well_known_part_stands_between_host_and_path(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§3.1: an issuer with a path."""
    http = make_app(sqlite_store_url, issuer=f"{ISSUER}/tenant").test_client()

    found = http.get(f"{WELL_KNOWN}/tenant").json

    assert found["issuer"] == f"{ISSUER}/tenant"
    assert found["token_endpoint"] == f"{ISSUER}/tenant/oauth/token"


def test_both_documents_agree(rp: RelyingParty, found: dict[str, Any]) -> None:
    """§5: the document of OpenID Connect Discovery says the same, and more."""
    assert found.items() <= rp.get("/.well-known/openid-configuration").json.items()


def test_every_auth_method_that_is_told_with_a_secret_works(make_relying_party: MakeRelyingParty) -> None:
    """§2: token_endpoint_auth_methods_supported."""
    robot = make_relying_party("machine", redirect_uris=[])
    client_id, secret = robot.auth or ("", "")
    sent = {"grant_type": "client_credentials"}

    assert robot.http.post("/oauth/token", data=sent, auth=robot.auth).status_code == 200
    by_post = {**sent, "client_id": client_id, "client_secret": secret}
    assert robot.http.post("/oauth/token", data=by_post).status_code == 200
