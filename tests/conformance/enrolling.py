"""Clients that register themselves, and their web sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conformance.site import Site
from tests.support.vocabulary import CALLBACK, nothing_new
from valetkey.runtime import Runtime

both_stores = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


Enrol = Callable[..., TestResponse]
Refuse = Callable[..., TestResponse]


@pytest.fixture
def enrol(http: FlaskClient) -> Enrol:
    """Send client metadata to the registration endpoint."""

    def send(token: str | None = None, **metadata: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata}, headers=headers)

    return send


@pytest.fixture
def refuse(enrol: Enrol, runtime: Runtime) -> Refuse:
    """Send client metadata that is refused by this code, with nothing new in the store."""

    def send(error: str, **metadata: Any) -> TestResponse:
        with nothing_new(runtime):
            answer = enrol(**metadata)
        assert (answer.status_code, (answer.json or {}).get("error")) == (400, error), answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json["error_description"].isascii()
        return answer

    return send


def manage(http: FlaskClient, information: Any, method: str = "GET", token: str | None = None, **more: Any) -> Any:
    """Call the client configuration endpoint that a client information response names (RFC 7592 §3)."""
    url = urlsplit(information["registration_client_uri"])
    headers = {"Authorization": f"Bearer {token or information['registration_access_token']}"}
    return http.open(f"{url.path}?{url.query}", method=method, headers=headers, **more)
