"""Fixtures of clients that change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.client_website import ClientWebsite
from tests.conformance.registration import website  # noqa: F401  # a fixture
from tests.support.browser_client import CALLBACK
from tests.support.changing_client import Change, PublishDocument
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients


@pytest.fixture
def change_metadata(runtime: Runtime) -> Change:
    """Return a function that changes a registered client in the database, as an operator's tool does."""

    def change(created: CreatedClient, *, policy: str | None = None, **members: Any) -> None:
        now = runtime.clock()
        client = clients.find(runtime.store, created.client_id, now)
        assert client
        statement = clients.change(client, policy=policy, metadata={**client.metadata, **members}, disabled_at=None)
        runtime.store.write_all(statement, change_feed.add("changed", client.client_id))

    return change


@pytest.fixture
def publish_document(website: ClientWebsite) -> PublishDocument:  # noqa: F811
    """Return a function that publishes a client metadata document and returns its URL, the client_id."""

    def put(**changes: Any) -> str:
        members = {
            "client_id": website.url("/client.json"),
            "client_name": "Assistant",
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
            **changes,
        }
        return website.publish("/client.json", members)

    return put
