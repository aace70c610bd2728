"""RFC 8414: OAuth 2.0 Authorization Server Metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER

WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.fixture
def metadata(rp: RelyingParty) -> dict[str, Any]:
    return dict(rp.get(WELL_KNOWN).json or {})


def test_every_required_member_is_present(metadata: dict[str, Any]) -> None:
    """§2."""
    assert metadata["issuer"] == ISSUER
    assert metadata["response_types_supported"] == ["code"]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert metadata[name].startswith(ISSUER) and "#" not in metadata[name]


def test_members_whose_default_does_not_apply_are_present(metadata: dict[str, Any]) -> None:
    """§2: grant_types_supported, response_modes_supported and the authentication methods."""
    assert "implicit" not in metadata["grant_types_supported"]
    assert "fragment" not in metadata["response_modes_supported"]
    assert {"client_secret_basic", "client_secret_post", "none"} <= {*metadata["token_endpoint_auth_methods_supported"]}
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    for endpoint in ("revocation", "introspection"):
        assert metadata[f"{endpoint}_endpoint_auth_methods_supported"]


def test_signing_algorithms_are_listed_if_a_method_needs_them(metadata: dict[str, Any]) -> None:
    """§2: required with private_key_jwt; none is never listed."""
    for endpoint in ("token", "revocation", "introspection"):
        has_private_key_jwt = "private_key_jwt" in metadata[f"{endpoint}_endpoint_auth_methods_supported"]
        algorithms = metadata.get(f"{endpoint}_endpoint_auth_signing_alg_values_supported", [])
        assert bool(algorithms) == has_private_key_jwt and "none" not in algorithms


def test_no_member_is_null_or_empty(metadata: dict[str, Any]) -> None:
    """§3.2: claims with zero elements are omitted."""
    assert all(value is not None and value != [] for value in metadata.values())


def test_the_well_known_part_is_between_host_and_path(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§3.1: an issuer with a path."""
    http = make_app(sqlite_store_url, issuer=f"{ISSUER}/tenant").test_client()

    metadata = http.get(f"{WELL_KNOWN}/tenant").json

    assert metadata["issuer"] == f"{ISSUER}/tenant"
    assert metadata["token_endpoint"] == f"{ISSUER}/tenant/oauth/token"


def test_the_members_are_also_in_the_openid_configuration(rp: RelyingParty, metadata: dict[str, Any]) -> None:
    """§5: the document of OpenID Connect Discovery has the same members and more."""
    assert metadata.items() <= rp.get("/.well-known/openid-configuration").json.items()


def test_every_listed_authentication_method_with_a_secret_works(make_relying_party: MakeRelyingParty) -> None:
    """§2: token_endpoint_auth_methods_supported."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    client_id, secret = machine_client.auth or ("", "")
    form = {"grant_type": "client_credentials"}

    assert machine_client.http.post("/oauth/token", data=form, auth=machine_client.auth).status_code == 200
    with_secret = {**form, "client_id": client_id, "client_secret": secret}
    assert machine_client.http.post("/oauth/token", data=with_secret).status_code == 200
