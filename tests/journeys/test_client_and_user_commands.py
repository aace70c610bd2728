"""Commands that create users with claims, clients with any metadata, initial access tokens, keys and resources."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey

from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol.client_policy import CLIENT_POLICIES

CALLBACK = "https://shop.example/back"
CLAIMS = {
    "name": "Ada Lovelace",
    "birthdate": "1815-12-10",
    "email_verified": True,
    "address": {"locality": "London"},
    "updated_at": 1700000000,
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    deployment = Deployment(tmp_path_factory.mktemp("commands"), settings={"registration_policy": "approve"})
    deployment.run("init")
    return deployment


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[RunningServer]:
    with RunningServer(deployment) as running:
        yield running


def write_json(folder: Path, document: Any) -> str:
    """Write a JSON file and return its path."""
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_a_user_is_created_with_standard_claims(deployment: Deployment, tmp_path: Path) -> None:
    output = deployment.run(
        "users", "create", "--email", "ada@example.org", "--claims", write_json(tmp_path, CLAIMS), "--json"
    )
    assert json.loads(output)["sub"]
    users = json.loads(deployment.run("users", "list", "--json"))
    assert [user["name"] for user in users] == ["Ada Lovelace"]


def test_all_invalid_claims_are_listed_in_one_message(deployment: Deployment, tmp_path: Path) -> None:
    invalid = {
        "email_verified": "yes",
        "updated_at": "today",
        "website": "javascript:alert(1)",
        "birthdate": "10 December 1815",
        "shoe_size": 38,
        "email": "eve@example.org",
        "sub": "ada",
        "address": {"locality": "London", "postal_code": 1234},
    }
    problems = (
        "email_verified",
        "updated_at",
        "website must be an https or http URL",
        "birthdate must be a date like 1815-12-10",
        "shoe_size is neither a standard claim nor in the setting scope_claims",
        "email is not bob@example.org",
        "sub cannot be set",
        "postal_code of the claim address",
    )

    with pytest.raises(AssertionError) as failure:
        deployment.run("users", "create", "--email", "bob@example.org", "--claims", write_json(tmp_path, invalid))

    for problem in problems:
        assert problem in str(failure.value)


@pytest.mark.parametrize(
    "invalid",
    [
        {"redirect_uris": CALLBACK},
        {"redirect_uris": [5]},
        {"grant_types": "authorization_code"},
        {"scope": ["profile"]},
        {"post_logout_redirect_uris": CALLBACK},
        {"backchannel_logout_uri": 5},
        {"contacts": "ada@example.org"},
    ],
    ids=str,
)
def test_metadata_of_a_wrong_type_is_refused_with_one_sentence(
    deployment: Deployment, tmp_path: Path, invalid: dict[str, Any]
) -> None:
    file = write_json(tmp_path, {"client_name": "Shop", "redirect_uris": [CALLBACK], **invalid})

    with pytest.raises(AssertionError) as failure:
        deployment.run("clients", "create", "--metadata", file)

    [member] = invalid
    assert re.search(rf"Error: {member} (must be|cannot be used)", str(failure.value))
    assert "Traceback" not in str(failure.value) and str(failure.value).count(member) == 1


def test_keys_rotate_can_print_the_new_keys_as_json(deployment: Deployment) -> None:
    next_keys = json.loads(deployment.run("keys", "rotate", "--json"))
    emergency_keys = json.loads(deployment.run("keys", "rotate", "--emergency", "--json"))

    assert {(key["alg"], key["state"]) for key in next_keys} == {("ES256", "next"), ("RS256", "next")}
    assert {(key["alg"], key["state"]) for key in emergency_keys} == {("ES256", "signs"), ("RS256", "signs")}


def test_equivalent_uris_cannot_be_two_resources(deployment: Deployment) -> None:
    deployment.run("resources", "create", "https://photos.example")

    with pytest.raises(AssertionError, match=r"there is a resource https://photos\.example already"):
        deployment.run("resources", "create", "https://Photos.example/")


def test_a_client_is_created_with_metadata_from_a_file(deployment: Deployment, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256").as_dict(private=False)
    metadata = {
        "client_name": "Shop",
        "redirect_uris": [CALLBACK],
        "subject_type": "pairwise",
        "id_token_signed_response_alg": "ES256",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]},
    }

    file = write_json(tmp_path, metadata)
    created = json.loads(deployment.run("clients", "create", "--metadata", file, "--client-id", "shop", "--json"))

    assert created == {"client_id": "shop", "client_secret": None}
    client = json.loads(deployment.run("clients", "show", "shop", "--json"))
    assert {name: client[name] for name in metadata} == metadata


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"client_name": "S", "redirect_uris": [CALLBACK], "flavour": "x"}, "unknown client metadata member: flavour"),
        ({"redirect_uris": [CALLBACK]}, "the name is missing"),
        ({"client_name": "S", "redirect_uris": [CALLBACK], "jwks_uri": "file:///x"}, "jwks_uri cannot be used"),
        ([], "is not a JSON object"),
    ],
)
def test_invalid_metadata_is_refused_with_a_message(
    deployment: Deployment, tmp_path: Path, metadata: Any, message: str
) -> None:
    with pytest.raises(AssertionError, match=message) as failure:
        deployment.run("clients", "create", "--metadata", write_json(tmp_path, metadata))

    assert "Traceback" not in str(failure.value)


def test_registration_without_an_initial_access_token_needs_approval(
    deployment: Deployment, server: RunningServer
) -> None:
    token = json.loads(deployment.run("clients", "token", "--policy", "machine", "--uses", "1", "--json"))
    url = server.metadata["registration_endpoint"]
    headers = {"Authorization": f"Bearer {token['initial_access_token']}"}
    with_token = httpx.post(url, json={}, headers=headers).json()
    without_token = httpx.post(url, json={"grant_types": ["client_credentials"]}).json()

    def request_token(client: Any) -> int:
        auth = (client["client_id"], client["client_secret"])
        form = {"grant_type": "client_credentials"}
        return httpx.post(server.metadata["token_endpoint"], data=form, auth=auth).status_code

    assert httpx.post(url, json={}, headers=headers).status_code == 401, "the token may be used once"

    def state(client: Any) -> str:
        clients = json.loads(deployment.run("clients", "list", "--json"))
        return next(row["state"] for row in clients if row["client_id"] == client["client_id"])

    assert [request_token(with_token), request_token(without_token)] == [200, 401]
    assert [state(with_token), state(without_token)] == ["active", "waiting"]
    shown = subprocess.run(
        deployment.command("clients", "approve", without_token["client_id"]),
        env=deployment.environment,
        capture_output=True,
        check=True,
        text=True,
    ).stderr
    assert 'grant_types: ["client_credentials"]' in shown, "what is approved is shown"
    assert (request_token(without_token), state(without_token)) == (200, "active")


def test_a_client_can_be_created_with_every_policy(deployment: Deployment, server: RunningServer) -> None:
    for policy in CLIENT_POLICIES:
        uris = () if policy == "machine" else ("--redirect-uri", CALLBACK)
        client = json.loads(deployment.run("clients", "create", "--name", policy, "--policy", policy, *uris, "--json"))
        response = httpx.get(f"{server.issuer}/oauth/authorize", params={"client_id": client["client_id"]})
        assert response.status_code == (400 if policy == "machine" else 303), policy
