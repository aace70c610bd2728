"""RFC 9728: OAuth 2.0 Protected Resource Metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.relying_party import RelyingParty, register_resource
from tests.support.app import MakeApp
from tests.support.browser_client import ISSUER, SCOPES
from valetkey.protocol.protected_resource import metadata_url

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@pytest.fixture
def metadata(rp: RelyingParty) -> dict[str, Any]:
    return dict(rp.get(WELL_KNOWN).json or {})


def test_the_document_contains_the_resource_and_its_authorization_server(metadata: dict[str, Any]) -> None:
    """§2: resource is required."""
    assert metadata["resource"] == ISSUER
    assert metadata["authorization_servers"] == [ISSUER]


def test_the_listed_authorization_server_has_metadata(rp: RelyingParty, metadata: dict[str, Any]) -> None:
    """§2: authorization_servers; RFC 8414 §3.3."""
    issuer = metadata["authorization_servers"][0]

    assert rp.get(f"{issuer}/.well-known/oauth-authorization-server").json["issuer"] == issuer


def test_scopes_and_bearer_methods_are_listed(metadata: dict[str, Any]) -> None:
    """§2: scopes_supported, bearer_methods_supported."""
    assert metadata["scopes_supported"] == sorted(SCOPES)
    assert metadata["bearer_methods_supported"] == ["header"]
    assert isinstance(metadata["resource_name"], str)


def test_no_member_is_null_or_empty(metadata: dict[str, Any]) -> None:
    """§3.2: parameters with zero values are omitted."""
    assert all(value not in (None, [], "") for value in metadata.values())


def test_the_document_is_json_for_every_origin(rp: RelyingParty) -> None:
    """§3.2."""
    response = rp.get(WELL_KNOWN)

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("path", [WELL_KNOWN, f"{WELL_KNOWN}/mcp"])
def test_a_script_of_any_origin_may_send_its_own_headers(rp: RelyingParty, path: str) -> None:
    """§3.1, Fetch §4.8: for MCP-Protocol-Version, which MCP clients send, a browser sends a preflight request."""
    preflight = rp.http.options(path, headers={"Access-Control-Request-Headers": "mcp-protocol-version"})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "mcp-protocol-version" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://api.example", f"https://api.example{WELL_KNOWN}"),
        ("https://api.example/", f"https://api.example{WELL_KNOWN}"),
        ("https://api.example/v1", f"https://api.example{WELL_KNOWN}/v1"),
        ("https://api.example:8443/v1?tenant=1", f"https://api.example:8443{WELL_KNOWN}/v1?tenant=1"),
    ],
)
def test_the_well_known_part_is_between_host_and_path(resource: str, url: str) -> None:
    """§3.1."""
    assert metadata_url(resource) == url


@pytest.mark.parametrize("resource", [f"{ISSUER}/v1", f"{ISSUER}/v1/notes", "https://notes.example/n"])
def test_the_document_of_each_resource_has_its_exact_url(rp: RelyingParty, resource: str) -> None:
    """§3.3: identical to the URL from which the document's URL was built."""
    register_resource(rp.runtime, resource, resource_name="Notes", scopes_supported=["notes:read"])

    metadata = rp.get(metadata_url(resource)).json

    assert metadata["resource"] == resource
    assert (metadata["resource_name"], metadata["scopes_supported"]) == ("Notes", ["notes:read"])


def test_resources_with_the_same_path_are_distinguished_by_host(rp: RelyingParty) -> None:
    """§3.3: a client must not use a document that names another resource."""
    for host in ("notes.example", "photos.example"):
        register_resource(rp.runtime, f"https://{host}/v1")
        register_resource(rp.runtime, f"https://{host}")

    for resource in ("https://photos.example/v1", "https://notes.example/v1", "https://photos.example"):
        assert rp.get(metadata_url(resource)).json["resource"] == resource
    assert rp.get(WELL_KNOWN, headers={"Host": "unknown.example"}).json["resource"] == ISSUER


def test_a_path_without_a_resource_has_no_document(rp: RelyingParty) -> None:
    """§3.2."""
    assert rp.get(f"{WELL_KNOWN}/nothing/here").status_code == 404


def test_the_challenge_contains_the_url_of_the_document(rp: RelyingParty) -> None:
    """§5.1: on 401 and on 403."""
    parameter = f'resource_metadata="{ISSUER}{WELL_KNOWN}"'
    wrong_scope = rp.obtain_tokens(scope="notes:read")["access_token"]

    for refused, status in ((rp.call(), 401), (rp.call("bad"), 401), (rp.call(wrong_scope), 403)):
        assert refused.status_code == status
        assert parameter in refused.headers["WWW-Authenticate"]


def test_the_url_in_the_challenge_is_that_of_the_configured_resource(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§5.1, §3.3."""
    http = make_app(sqlite_store_url, resource="https://api.example/v1").test_client()
    challenge = http.get("/api/protected").headers["WWW-Authenticate"]
    url = challenge.partition('resource_metadata="')[2].partition('"')[0]

    assert http.get(url).json["resource"] == "https://api.example/v1"


def test_the_authorization_servers_metadata_lists_its_resources(rp: RelyingParty) -> None:
    """§4: protected_resources."""
    register_resource(rp.runtime, "https://notes.example/v1")

    resources = rp.get("/.well-known/oauth-authorization-server").json["protected_resources"]

    assert resources == [ISSUER, "https://notes.example/v1"]
