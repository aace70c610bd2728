"""The protected resource metadata of a ``ResourceServer`` has the same view as that of a ``Valetkey``."""

from __future__ import annotations

import pytest
from flask import Flask

from valetkey import ResourceServer, Valetkey

PATH = "/.well-known/oauth-protected-resource"


@pytest.fixture(params=["Valetkey", "ResourceServer"])
def app(request: pytest.FixtureRequest, sqlite_store_url: str) -> Flask:
    app = Flask("api")
    if request.param == "Valetkey":
        Valetkey(app, issuer="https://api.example", database_url=sqlite_store_url, embedded_worker=False)
    else:
        ResourceServer(app, trusted_issuers=["https://login.example"], resource="https://api.example")
    return app


def test_a_preflight_allows_every_header_that_a_script_sends(app: Flask) -> None:
    response = app.test_client().options(
        PATH,
        headers={"Origin": "https://app.example", "Access-Control-Request-Headers": "traceparent, x-requested-with"},
    )

    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Headers"] == "traceparent, x-requested-with"
    assert response.headers["Access-Control-Allow-Methods"] == response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "Content-Type" not in response.headers


def test_the_document_is_readable_by_scripts_of_any_origin(app: Flask) -> None:
    response = app.test_client().get(PATH)

    assert (response.json or {})["resource"] == "https://api.example"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "public, max-age=300"
