"""openid-client, a certified relying party in Node, which validates discovery, ID tokens and userinfo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from tests.interop.client import Client
from tests.interop.node_program import run_node_program
from tests.support.user import CALLBACK, EMAIL, User
from tests.support.valetkey_server import RunningServer

GOODBYE = "https://app.example/goodbye"


def _run(flow: str, server: RunningServer, client: Client, method: str, user: User, **options: Any) -> Any:
    configuration = {"flow": flow, "issuer": server.issuer, "method": method, **vars(client), **options}
    return run_node_program("openid_client.mjs", configuration, user)


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_web_client_can_sign_in_read_userinfo_refresh_and_revoke(
    server: RunningServer, relying_party: Client, maya: User, method: str, response_mode: str
) -> None:
    result = _run("signIn", server, relying_party, method, maya, parameters={"response_mode": response_mode})

    assert result["claims"]["iss"] == server.issuer
    assert result["claims"]["aud"] == relying_party.client_id
    assert (result["userinfo"]["email"], result["userinfo"]["name"]) == (EMAIL, "Maya")
    assert result["userinfo"]["sub"] == result["claims"]["sub"]
    assert result["refused"] == "invalid_grant"


def test_a_refreshed_id_token_has_the_same_user_and_sign_in(
    server: RunningServer, relying_party: Client, maya: User
) -> None:
    result = _run("signIn", server, relying_party, "client_secret_basic", maya)

    for name in ("iss", "sub", "aud", "auth_time"):
        assert result["refreshed"][name] == result["claims"][name]


def test_a_web_client_can_authenticate_with_private_key_jwt(server: RunningServer, maya: User) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"})
    created = server.deployment.create_client(
        "web", scope="", redirect_uris=[CALLBACK], jwks={"keys": [key.as_dict(private=False)]}
    )
    client = Client(created["client_id"], None, CALLBACK)

    result = _run("signIn", server, client, "private_key_jwt", maya, jwk=key.as_dict(private=True))

    assert result["refused"] == "invalid_grant"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256", "Ed25519", "EdDSA"])
def test_id_tokens_and_userinfo_are_signed_with_the_registered_algorithm(
    server: RunningServer, maya: User, tmp_path: Path, alg: str
) -> None:
    metadata = {"id_token_signed_response_alg": alg, "userinfo_signed_response_alg": alg}
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(metadata))
    options = ["--name", alg, "--redirect-uri", CALLBACK, "--metadata", str(file), "--json"]
    created = json.loads(server.deployment.run("clients", "create", *options))
    client = Client(created["client_id"], created["client_secret"], CALLBACK)

    result = _run("signIn", server, client, "client_secret_basic", maya, metadata=metadata)

    assert result["userinfo"]["sub"] == result["claims"]["sub"]


def test_a_public_client_can_sign_in_without_a_secret(
    server: RunningServer, native_relying_party: Client, maya: User
) -> None:
    result = _run("signIn", server, native_relying_party, "none", maya)

    assert result["claims"]["aud"] == native_relying_party.client_id
    assert result["refused"] == "invalid_grant"


def test_a_silent_sign_in_requires_an_earlier_one(server: RunningServer, relying_party: Client, maya: User) -> None:
    result = _run("silent", server, relying_party, "client_secret_basic", maya)

    assert result == {"stranger": "login_required", "same": True}


def test_a_device_can_sign_its_user_in(server: RunningServer, native_relying_party: Client, maya: User) -> None:
    result = _run("device", server, native_relying_party, "none", maya)

    assert result["userinfo"]["name"] == "Maya"
    assert result["refresh"]


def test_a_relying_party_can_sign_its_user_out(server: RunningServer, maya: User) -> None:
    options = ["--redirect-uri", CALLBACK, "--post-logout-redirect-uri", GOODBYE]
    created = json.loads(server.deployment.run("clients", "create", "--name", "Leaving", *options, "--json"))
    client = Client(created["client_id"], created["client_secret"], CALLBACK)

    result = _run("logout", server, client, "client_secret_basic", maya, goodbye=GOODBYE)

    assert result == {"url": f"{GOODBYE}?state=left", "again": "login_required"}
