"""oauth4webapi in Node, which judges every answer before it uses it: issuer, ``iss``, types, RFC 9068."""

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
TRIED = {  # each value of the metadata, by the tests of this file
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


def test_all_that_is_advertised_is_tried(server: RunningServer) -> None:
    advertised = {
        name: set(value)
        for name, value in server.metadata.items()
        if name.endswith("_supported") and isinstance(value, list)
    }
    del advertised["scopes_supported"]

    assert advertised == TRIED


def _run(flow: str, server: RunningServer, client: Client, method: str, person: User | None = None, **more: Any) -> Any:
    told = {"flow": flow, "issuer": server.issuer, "method": method, **vars(client), **more}
    return run_node_program("oauth_client.mjs", told, person)


@pytest.mark.parametrize("response_mode", RESPONSE_MODES)
@pytest.mark.parametrize("method", SECRET_METHODS)
def test_a_web_app_signs_in_refreshes_introspects_and_revokes(
    server: RunningServer, web_client: Client, maya: User, method: str, response_mode: str
) -> None:
    seen = _run("web", server, web_client, method, maya, response_mode=response_mode)

    assert set(seen["scope"].split()) == {"profile", "email"}
    assert {seen["claims"]["acr"]} == TRIED["acr_values_supported"]
    assert seen["rotated"] is True
    assert seen["active"] == [True, False]
    assert seen["refused"] == "invalid_grant"
    assert seen["claims"]["client_id"] == web_client.client_id


@pytest.mark.parametrize("alg", KEYS)
def test_a_web_app_proves_itself_by_a_signed_assertion(server: RunningServer, maya: User, alg: str) -> None:
    """At the token, introspection and revocation endpoints."""
    kind = {"E": ECKey, "P": RSAKey, "R": RSAKey}[alg[0]] if not alg.startswith("Ed") else OKPKey
    key = kind.generate_key(KEYS[alg], {"kid": "k1", "alg": alg})
    made = server.deployment.create_client(
        "web", scope="profile email", redirect_uris=[CALLBACK], jwks={"keys": [key.as_dict(private=False)]}
    )
    client = Client(made["client_id"], None, CALLBACK)

    seen = _run("web", server, client, "private_key_jwt", maya, jwk=key.as_dict(private=True))

    assert seen["rotated"] is True
    assert seen["active"] == [True, False]
    assert seen["refused"] == "invalid_grant"


def test_a_native_app_signs_in_refreshes_and_revokes_without_a_secret(
    server: RunningServer, native_client: Client, maya: User
) -> None:
    seen = _run("native", server, native_client, "none", maya)

    assert seen["rotated"] is True
    assert seen["refused"] == "invalid_grant"
    assert seen["claims"]["sub"] != native_client.client_id


@pytest.mark.parametrize("method", SECRET_METHODS)
def test_a_machine_gets_a_token_for_itself(server: RunningServer, machine_client: Client, method: str) -> None:
    seen = _run("machine", server, machine_client, method)

    assert (seen["scope"], seen["refreshable"]) == ("profile", False)
    assert seen["introspected"]["active"] is True
    assert seen["claims"]["client_id"] == machine_client.client_id


def test_a_device_gets_a_token_for_its_person(server: RunningServer, native_client: Client, maya: User) -> None:
    seen = _run("device", server, native_client, "none", maya)

    assert seen["scope"] == "profile"
    assert seen["claims"]["client_id"] == native_client.client_id
