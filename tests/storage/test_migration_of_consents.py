"""The upgrade fills in what a consent stores about the client, so that nobody is asked again."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.support.database import upgrade_to
from valetkey.protocol.client_identity import describe_identity
from valetkey.storage.clients import find as find_client
from valetkey.storage.consents import find as find_consent
from valetkey.storage.engine.open import open_store
from valetkey.storage.grants import find as find_grant

SHOP = {
    "client_name": "Shop",
    "redirect_uris": ["https://shop.example/back"],
    "token_endpoint_auth_method": "client_secret_basic",
}
DOCUMENT_URL = "https://assistant.example/client.json"
APPROVED_DOCUMENT = {"token_endpoint_auth_method": "none"}


def insert(engine: Engine, table: str, **values: Any) -> None:
    names = ", ".join(values)
    parameters = ", ".join(f":{name}" for name in values)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO valetkey_{table} ({names}) VALUES ({parameters})"), values)


@pytest.fixture
def url(database_url: str) -> str:
    """A database of the version before, with clients, consents and grants, after its upgrade."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    upgrade_to(database_url, "0002")
    for client_id, policy, metadata in (("shop", "web", SHOP), (DOCUMENT_URL, "agent", APPROVED_DOCUMENT)):
        insert(engine, "clients", client_id=client_id, policy=policy, metadata=json.dumps(metadata), created_at=1.0)
    for client_id in ("shop", DOCUMENT_URL, "https://other.example/client.json", "removed"):
        consent = {"owner": "ada", "client_id": client_id, "scope": "a b", "first_granted_at": 1.0, "granted_at": 2.0}
        insert(engine, "consents", **consent)
        grant = {"grant_id": f"of {client_id}", "client_id": client_id, "owner": "ada", "scope": "a", "resources": "[]"}
        insert(engine, "grants", **grant, created_at=1.0, expires_at=9.0)
    engine.dispose()
    upgrade_to(database_url, "head")
    return database_url


def test_a_consent_gets_the_present_identity_of_its_client(url: str) -> None:
    with closing(open_store(url)) as store:
        consent, client = find_consent(store, "ada", "shop"), find_client(store, "shop", 1.0)

    assert consent and client
    assert consent.identity == client.identity == describe_identity("shop", "web", SHOP)
    assert (consent.scope, consent.first_granted_at) == ("a b", 1.0)


def test_the_identity_of_a_client_with_a_metadata_document_is_unknown(url: str) -> None:
    with closing(open_store(url)) as store:
        found = [find_consent(store, "ada", name) for name in (DOCUMENT_URL, "https://other.example/client.json")]

    assert [consent and consent.identity for consent in found] == [None, None]


def test_a_consent_to_a_client_that_was_removed_is_deleted(url: str) -> None:
    with closing(open_store(url)) as store:
        assert find_consent(store, "ada", "removed") is None


def test_a_grant_gets_the_present_authentication_method_of_its_client(url: str) -> None:
    with closing(open_store(url)) as store:
        found = [find_grant(store, f"of {client_id}") for client_id in ("shop", DOCUMENT_URL, "removed")]

    assert [grant and grant.auth_method for grant in found] == ["client_secret_basic", None, None]
