"""Clients that register themselves, and their web sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conformance.client_website import ClientWebsite
from tests.support.browser_client import CALLBACK, assert_store_unchanged
from valetkey.runtime import Runtime

both_stores = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def site() -> Iterator[ClientWebsite]:
    made = ClientWebsite()
    yield made
    made.close()


PostRegistration = Callable[..., TestResponse]
ExpectRefusal = Callable[..., TestResponse]


@pytest.fixture
def enrol(http: FlaskClient) -> PostRegistration:
    """Send client metadata to the registration endpoint."""

    def send(token: str | None = None, **metadata: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata}, headers=headers)

    return send


@pytest.fixture
def refuse(enrol: PostRegistration, runtime: Runtime) -> ExpectRefusal:
    """Send client metadata that is refused by this code, with nothing new in the store."""

    def send(error: str, **metadata: Any) -> TestResponse:
        with assert_store_unchanged(runtime):
            answer = enrol(**metadata)
        assert (answer.status_code, (answer.json or {}).get("error")) == (400, error), answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json["error_description"].isascii()
        return answer

    return send


def call_configuration_endpoint(
    http: FlaskClient, client_information: Any, method: str = "GET", token: str | None = None, **options: Any
) -> Any:
    """Call the client configuration endpoint that a client information response names (RFC 7592 §3)."""
    url = urlsplit(client_information["registration_client_uri"])
    headers = {"Authorization": f"Bearer {token or client_information['registration_access_token']}"}
    return http.open(f"{url.path}?{url.query}", method=method, headers=headers, **options)
