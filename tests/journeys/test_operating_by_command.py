"""What an operator does from a shell: people with claims, apps with any metadata, initial access tokens, approval."""

from __future__ import annotations

import json
import re
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
    made = Deployment(tmp_path_factory.mktemp("operating"), settings={"registration_policy": "approve"})
    made.run("init")
    return made


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[RunningServer]:
    with RunningServer(deployment) as running:
        yield running


def file_with(folder: Path, document: Any) -> str:
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_a_person_is_made_with_standard_claims(deployment: Deployment, tmp_path: Path) -> None:
    made = deployment.run(
        "users", "create", "--email", "ada@example.org", "--claims", file_with(tmp_path, CLAIMS), "--json"
    )
    assert json.loads(made)["sub"]
    listed = json.loads(deployment.run("users", "list", "--json"))
    assert [one["name"] for one in listed] == ["Ada Lovelace"]


def test_claims_of_the_wrong_type_are_told_together(deployment: Deployment, tmp_path: Path) -> None:
    wrong = {
        "email_verified": "yes",
        "updated_at": "today",
        "shoe_size": 38,
        "email": "eve@example.org",
        "sub": "ada",
        "address": {"locality": "London", "postal_code": 1234},
    }
    told_of = (
        "email_verified",
        "updated_at",
        "shoe_size is not a standard claim",
        "email is not bob@example.org",
        "sub is made by the server",
        "postal_code of the claim address",
    )

    with pytest.raises(AssertionError) as told:
        deployment.run("users", "create", "--email", "bob@example.org", "--claims", file_with(tmp_path, wrong))

    for what in told_of:
        assert what in str(told.value)


@pytest.mark.parametrize(
    "wrong",
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
def test_metadata_of_a_wrong_type_is_told_in_one_sentence(
    deployment: Deployment, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    file = file_with(tmp_path, {"client_name": "Shop", "redirect_uris": [CALLBACK], **wrong})

    with pytest.raises(AssertionError) as told:
        deployment.run("clients", "create", "--metadata", file)

    [member] = wrong
    assert re.search(rf"Error: {member} (must be|cannot be used)", str(told.value))
    assert "Traceback" not in str(told.value) and str(told.value).count(member) == 1


def test_new_keys_are_told_as_json(deployment: Deployment) -> None:
    planned, at_once = (json.loads(deployment.run("keys", "rotate", *how, "--json")) for how in ([], ["--emergency"]))

    assert {(key["alg"], key["state"]) for key in planned} == {("ES256", "next"), ("RS256", "next")}
    assert {(key["alg"], key["state"]) for key in at_once} == {("ES256", "signs"), ("RS256", "signs")}


def test_two_names_that_clients_take_for_one_are_not_two_resources(deployment: Deployment) -> None:
    deployment.run("resources", "create", "https://photos.example")

    with pytest.raises(AssertionError, match=r"there is a resource https://photos\.example already"):
        deployment.run("resources", "create", "https://Photos.example/")


def test_an_app_is_made_with_any_metadata(deployment: Deployment, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256").as_dict(private=False)
    metadata = {
        "client_name": "Shop",
        "redirect_uris": [CALLBACK],
        "subject_type": "pairwise",
        "id_token_signed_response_alg": "ES256",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]},
    }

    file = file_with(tmp_path, metadata)
    made = json.loads(deployment.run("clients", "create", "--metadata", file, "--client-id", "shop", "--json"))

    assert made == {"client_id": "shop", "client_secret": None}
    shown = json.loads(deployment.run("clients", "show", "shop", "--json"))
    assert {name: shown[name] for name in metadata} == metadata


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"client_name": "S", "redirect_uris": [CALLBACK], "flavour": "x"}, "unknown client metadata member: flavour"),
        ({"redirect_uris": [CALLBACK]}, "a name is needed"),
        ({"client_name": "S", "redirect_uris": [CALLBACK], "jwks_uri": "file:///x"}, "jwks_uri cannot be used"),
        ([], "holds no JSON object"),
    ],
)
def test_what_cannot_be_metadata_is_told_in_a_sentence(
    deployment: Deployment, tmp_path: Path, metadata: Any, said: str
) -> None:
    with pytest.raises(AssertionError, match=said) as told:
        deployment.run("clients", "create", "--metadata", file_with(tmp_path, metadata))

    assert "Traceback" not in str(told.value)


def test_an_app_with_an_initial_access_token_is_in_and_another_waits_for_approval(
    deployment: Deployment, server: RunningServer
) -> None:
    token = json.loads(deployment.run("clients", "token", "--policy", "machine", "--uses", "1", "--json"))
    url = server.metadata["registration_endpoint"]
    headers = {"Authorization": f"Bearer {token['initial_access_token']}"}
    vouched = httpx.post(url, json={}, headers=headers).json()
    waiting = httpx.post(url, json={"grant_types": ["client_credentials"]}).json()

    def ask(app: Any) -> int:
        auth = (app["client_id"], app["client_secret"])
        sent = {"grant_type": "client_credentials"}
        return httpx.post(server.metadata["token_endpoint"], data=sent, auth=auth).status_code

    assert httpx.post(url, json={}, headers=headers).status_code == 401, "used up"

    def state(app: Any) -> str:
        listed = json.loads(deployment.run("clients", "list", "--json"))
        return next(one["state"] for one in listed if one["client_id"] == app["client_id"])

    assert [ask(vouched), ask(waiting)] == [200, 401]
    assert [state(vouched), state(waiting)] == ["active", "waiting"]
    deployment.run("clients", "approve", waiting["client_id"])
    assert (ask(waiting), state(waiting)) == (200, "active")


def test_every_policy_can_be_given_by_command(deployment: Deployment, server: RunningServer) -> None:
    for policy in CLIENT_POLICIES:
        uris = () if policy == "machine" else ("--redirect-uri", CALLBACK)
        made = json.loads(deployment.run("clients", "create", "--name", policy, "--policy", policy, *uris, "--json"))
        asked = httpx.get(f"{server.issuer}/oauth/authorize", params={"client_id": made["client_id"]})
        assert asked.status_code == (400 if policy == "machine" else 303), policy
