"""openid-client, a certified relying party in Node: it judges discovery, ID tokens and userinfo before it uses them."""

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


def _run(flow: str, server: RunningServer, client: Client, method: str, person: User, **more: Any) -> Any:
    told = {"flow": flow, "issuer": server.issuer, "method": method, **vars(client), **more}
    return run_node_program("openid_client.mjs", told, person)


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_web_app_signs_in_reads_userinfo_refreshes_and_revokes(
    server: RunningServer, relying_party: Client, maya: User, method: str, response_mode: str
) -> None:
    seen = _run("signIn", server, relying_party, method, maya, parameters={"response_mode": response_mode})

    assert seen["claims"]["iss"] == server.issuer
    assert seen["claims"]["aud"] == relying_party.client_id
    assert (seen["userinfo"]["email"], seen["userinfo"]["name"]) == (EMAIL, "Maya")
    assert seen["userinfo"]["sub"] == seen["claims"]["sub"]
    assert seen["refused"] == "invalid_grant"


def test_a_refreshed_id_token_is_about_the_same_person_and_sign_in(
    server: RunningServer, relying_party: Client, maya: User
) -> None:
    seen = _run("signIn", server, relying_party, "client_secret_basic", maya)

    for name in ("iss", "sub", "aud", "auth_time"):
        assert seen["refreshed"][name] == seen["claims"][name]


def test_a_web_app_proves_itself_by_its_key(server: RunningServer, maya: User) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"})
    made = server.deployment.create_client(
        "web", scope="", redirect_uris=[CALLBACK], jwks={"keys": [key.as_dict(private=False)]}
    )
    client = Client(made["client_id"], None, CALLBACK)

    seen = _run("signIn", server, client, "private_key_jwt", maya, jwk=key.as_dict(private=True))

    assert seen["refused"] == "invalid_grant"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256", "Ed25519", "EdDSA"])
def test_an_id_token_is_signed_as_the_client_registered(
    server: RunningServer, maya: User, tmp_path: Path, alg: str
) -> None:
    metadata = {"id_token_signed_response_alg": alg, "userinfo_signed_response_alg": alg}
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(metadata))
    words = ["--name", alg, "--redirect-uri", CALLBACK, "--metadata", str(file), "--json"]
    made = json.loads(server.deployment.run("clients", "create", *words))
    client = Client(made["client_id"], made["client_secret"], CALLBACK)

    seen = _run("signIn", server, client, "client_secret_basic", maya, metadata=metadata)

    assert seen["userinfo"]["sub"] == seen["claims"]["sub"]


def test_a_public_client_signs_in_without_a_secret(
    server: RunningServer, native_relying_party: Client, maya: User
) -> None:
    seen = _run("signIn", server, native_relying_party, "none", maya)

    assert seen["claims"]["aud"] == native_relying_party.client_id
    assert seen["refused"] == "invalid_grant"


def test_only_a_second_sign_in_can_be_silent(server: RunningServer, relying_party: Client, maya: User) -> None:
    seen = _run("silent", server, relying_party, "client_secret_basic", maya)

    assert seen == {"stranger": "login_required", "same": True}


def test_a_device_signs_its_person_in(server: RunningServer, native_relying_party: Client, maya: User) -> None:
    seen = _run("device", server, native_relying_party, "none", maya)

    assert seen["userinfo"]["name"] == "Maya"
    assert seen["refresh"]


def test_an_app_signs_its_person_out(server: RunningServer, maya: User) -> None:
    uris = ["--redirect-uri", CALLBACK, "--post-logout-redirect-uri", GOODBYE]
    made = json.loads(server.deployment.run("clients", "create", "--name", "Leaving", *uris, "--json"))
    client = Client(made["client_id"], made["client_secret"], CALLBACK)

    seen = _run("logout", server, client, "client_secret_basic", maya, goodbye=GOODBYE)

    assert seen == {"url": f"{GOODBYE}?state=left", "again": "login_required"}
