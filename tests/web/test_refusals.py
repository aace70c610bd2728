"""A backend that does not answer: one text and the exception's Retry-After, whichever body the response has."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.app import MakeApp
from valetkey import require_oauth
from valetkey.api_helpers import idempotent
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.refusal import build_refusal
from valetkey.protocol.resource_owner import ResourceOwnersUnavailable
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.counters import CountersUnavailable
from valetkey.resource_server.issuers.errors import IssuerUnavailable
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable

TEXT = "the server is temporarily unavailable; try again"
SECRET = "postgresql://valetkey:hunter2@db.internal"


class SlowBackend(BackendUnavailable):
    retry_after = 7


@pytest.fixture(params=[False, True], ids=["through Flask", "before Flask"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url, endpoints_bypass_flask=request.param)

    @app.get("/api/guarded")
    @require_oauth()
    def guarded() -> Any:
        return {}

    @app.post("/api/once")
    @idempotent
    def once() -> Any:
        return {}

    return app


@pytest.fixture
def http(app: Flask, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of an app none of whose backends answers."""
    runtime: Runtime = app.extensions["valetkey"]
    runtime.get_ready()

    def down(*_: Any, **__: Any) -> Any:
        raise SlowBackend(SECRET)

    monkeypatch.setattr(runtime.clients, "find", down)
    monkeypatch.setattr(runtime.verifier, "verify_header", down)
    monkeypatch.setattr(runtime.resources, "describe_all", down)
    monkeypatch.setattr("valetkey.api_helpers.idempotency_store.reserve", down)
    return app.test_client()


@pytest.mark.parametrize(
    ("method", "path", "content_type", "member"),
    [
        ("POST", "/oauth/token", "application/json", "error_description"),
        ("GET", "/.well-known/oauth-protected-resource/api", "application/json", "error_description"),
        ("GET", "/api/guarded", "application/problem+json", "detail"),
        ("POST", "/api/once", "application/problem+json", "detail"),
        ("GET", "/oauth/authorize?client_id=shop&redirect_uri=x", "text/html; charset=utf-8", None),
    ],
)
def test_each_body_has_the_same_text_and_the_retry_after_of_the_exception(
    http: FlaskClient, method: str, path: str, content_type: str, member: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": "Bearer x", "Idempotency-Key": '"key-of-the-request"'}
    if path == "/oauth/token":
        headers.pop("Authorization")

    response = http.open(path, method=method, headers=headers, data={"client_id": "shop"} if method == "POST" else None)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    assert response.headers["Content-Type"] == content_type
    if member is None:
        assert "The server is temporarily unavailable; try again." in response.text
    else:
        assert response.json[member] == TEXT
    assert "WWW-Authenticate" not in response.headers
    assert SECRET not in response.text
    assert [record.message for record in caplog.records if "unavailable at" in record.message]


@pytest.mark.parametrize("kind", [StoreUnavailable, CountersUnavailable, IssuerUnavailable, ResourceOwnersUnavailable])
def test_each_kind_of_backend_has_the_same_refusal(kind: type[BackendUnavailable]) -> None:
    refusal = build_refusal(kind(SECRET), "ref")

    assert (refusal.status, refusal.error, refusal.description) == (503, "temporarily_unavailable", TEXT)
    assert refusal.headers == (("Retry-After", str(kind.retry_after)),)
    assert set(kind.__bases__) == {BackendUnavailable}, "no kind inherits from another to be caught"


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (TooManyRequests("wait", retry_after=0.2), "1"),
        (TooManyRequests("wait", retry_after=1.2), "2"),
        (InvalidRequest("no"), None),
    ],
)
def test_retry_after_is_rounded_up_for_every_body(cause: OAuthError, expected: str | None) -> None:
    assert dict(build_refusal(cause, "ref").headers).get("Retry-After") == expected
