"""Dynamic client registration: fixtures that register clients and run their web sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conformance.client_website import ClientWebsite
from tests.support.browser_client import CALLBACK
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime

both_stores = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def website() -> Iterator[ClientWebsite]:
    """Run the web site of a client."""
    running = ClientWebsite()
    yield running
    running.close()


PostRegistration = Callable[..., TestResponse]
ExpectRefusal = Callable[..., TestResponse]


@pytest.fixture
def post_registration(http: FlaskClient) -> PostRegistration:
    """Send client metadata to the registration endpoint, with an initial access token if one is passed."""

    def send(token: str | None = None, **metadata: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata}, headers=headers)

    return send


@pytest.fixture
def expect_refusal(post_registration: PostRegistration, runtime: Runtime) -> ExpectRefusal:
    """Send client metadata that must be refused with this error code and leave the store unchanged."""

    def send(error: str, **metadata: Any) -> TestResponse:
        with assert_store_unchanged(runtime):
            response = post_registration(**metadata)
        assert (response.status_code, (response.json or {}).get("error")) == (400, error), response.text
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json["error_description"].isascii()
        return response

    return send


def created_client(client_information: Any) -> CreatedClient:
    """Return the client of a client information response (RFC 7591 §3.2.1)."""
    secret = client_information.get("client_secret")
    return CreatedClient(client_information["client_id"], Secret(secret) if secret else None)


def call_configuration_endpoint(
    http: FlaskClient, client_information: Any, method: str = "GET", token: str | None = None, **options: Any
) -> Any:
    """Call the client configuration endpoint in a client information response (RFC 7592 §3).

    :param token: used instead of the registration access token in the response
    """
    url = urlsplit(client_information["registration_client_uri"])
    headers = {"Authorization": f"Bearer {token or client_information['registration_access_token']}"}
    return http.open(f"{url.path}?{url.query}", method=method, headers=headers, **options)
