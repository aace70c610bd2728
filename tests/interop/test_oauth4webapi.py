"""oauth4webapi in Node, which validates every response before it uses it: issuer, ``iss``, types, RFC 9068."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.interop.client import Client
from tests.interop.node_program import run_node_program
from tests.support.user import CALLBACK, User
from tests.support.valetkey_server import RunningServer

SECRET_METHODS = ("client_secret_basic", "client_secret_post")
KEYS = {"ES256": "P-256", "Ed25519": "Ed25519", "EdDSA": "Ed25519", "PS256": 2048, "RS256": 2048}
RESPONSE_MODES = ("query", "form_post")
TESTED = {  # each value in the metadata; tested in this file
    "response_types_supported": {"code"},
    "response_modes_supported": {*RESPONSE_MODES},
    "acr_values_supported": {"urn:valetkey:acr:password"},
    "code_challenge_methods_supported": {"S256"},
    "grant_types_supported": {
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    },
    "token_endpoint_auth_methods_supported": {*SECRET_METHODS, "private_key_jwt", "none"},
    "token_endpoint_auth_signing_alg_values_supported": {*KEYS},
    "revocation_endpoint_auth_methods_supported": {*SECRET_METHODS, "private_key_jwt", "none"},
    "revocation_endpoint_auth_signing_alg_values_supported": {*KEYS},
    "introspection_endpoint_auth_methods_supported": {*SECRET_METHODS, "private_key_jwt"},
    "introspection_endpoint_auth_signing_alg_values_supported": {*KEYS},
}


def test_every_value_in_the_metadata_is_tested(server: RunningServer) -> None:
    advertised = {
        name: set(value)
        for name, value in server.metadata.items()
        if name.endswith("_supported") and isinstance(value, list)
    }
    del advertised["scopes_supported"]

    assert advertised == TESTED


def _run(
    flow: str, server: RunningServer, client: Client, method: str, user: User | None = None, **options: Any
) -> Any:
    configuration = {"flow": flow, "issuer": server.issuer, "method": method, **vars(client), **options}
    return run_node_program("oauth_client.mjs", configuration, user)


@pytest.mark.parametrize("response_mode", RESPONSE_MODES)
@pytest.mark.parametrize("method", SECRET_METHODS)
def test_a_web_client_can_sign_in_refresh_introspect_and_revoke(
    server: RunningServer, web_client: Client, maya: User, method: str, response_mode: str
) -> None:
    result = _run("web", server, web_client, method, maya, response_mode=response_mode)

    assert set(result["scope"].split()) == {"profile", "email"}
    assert {result["claims"]["acr"]} == TESTED["acr_values_supported"]
    assert result["rotated"] is True
    assert result["active"] == [True, False]
    assert result["refused"] == "invalid_grant"
    assert result["claims"]["client_id"] == web_client.client_id


@pytest.mark.parametrize("alg", KEYS)
def test_a_web_client_can_authenticate_with_private_key_jwt(server: RunningServer, maya: User, alg: str) -> None:
    """At the token, introspection and revocation endpoints."""
    key_class = {"E": ECKey, "P": RSAKey, "R": RSAKey}[alg[0]] if not alg.startswith("Ed") else OKPKey
    key = key_class.generate_key(KEYS[alg], {"kid": "k1", "alg": alg})
    created = server.deployment.create_client(
        "web", scope="profile email", redirect_uris=[CALLBACK], jwks={"keys": [key.as_dict(private=False)]}
    )
    client = Client(created["client_id"], None, CALLBACK)

    result = _run("web", server, client, "private_key_jwt", maya, jwk=key.as_dict(private=True))

    assert result["rotated"] is True
    assert result["active"] == [True, False]
    assert result["refused"] == "invalid_grant"


def test_a_native_client_can_sign_in_refresh_and_revoke_without_a_secret(
    server: RunningServer, native_client: Client, maya: User
) -> None:
    result = _run("native", server, native_client, "none", maya)

    assert result["rotated"] is True
    assert result["refused"] == "invalid_grant"
    assert result["claims"]["sub"] != native_client.client_id


@pytest.mark.parametrize("method", SECRET_METHODS)
def test_a_machine_client_gets_a_token_with_client_credentials(
    server: RunningServer, machine_client: Client, method: str
) -> None:
    result = _run("machine", server, machine_client, method)

    assert (result["scope"], result["refreshable"]) == ("profile", False)
    assert result["introspected"]["active"] is True
    assert result["claims"]["client_id"] == machine_client.client_id


def test_a_device_gets_a_token_for_its_user(server: RunningServer, native_client: Client, maya: User) -> None:
    result = _run("device", server, native_client, "none", maya)

    assert result["scope"] == "profile"
    assert result["claims"]["client_id"] == native_client.client_id
