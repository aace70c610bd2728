"""Off loopback, every response of Valetkey has ``nosniff`` and HSTS, and the stricter HSTS policy wins."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from flask import Flask, Response
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from valetkey import ResourceServer

ISSUER = "https://id.example"
HSTS = "Strict-Transport-Security"
PATHS = (
    *("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth/jwks", "/openapi.json"),
    *("/.well-known/oauth-protected-resource", "/.well-known/api-catalog", "/llms.txt", "/docs", "/device"),
    *("/account/sign-in", "/account", "/oauth/authorize", "/oauth/nothing", "/oauth/pages/static/valetkey.css"),
    *("//oauth/token", "/oauth//jwks", "/oauth%2fjwks", "/api/protected", "/api/nothing", "/healthz", "/readyz"),
)
SETTINGS = {"issuer": ISSUER, "health_path": "/healthz", "readiness_path": "/readyz"}


def send(app: Flask, path: str, method: str = "GET") -> TestResponse:
    """Send a request to a path as it is: a test client takes ``//oauth/token`` for a host and a path."""
    environ = {"PATH_INFO": unquote(path), "HTTP_HOST": "evil.example", "HTTP_ORIGIN": "https://a.example"}
    return app.test_client().open("/", method=method, environ_overrides=environ)


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_every_response_of_valetkey_has_both(path: str, bypass: bool, make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, endpoints_bypass_flask=bypass, **SETTINGS)
    for method in ("GET", "POST", "OPTIONS"):
        if (method, path) == ("OPTIONS", "/api/protected"):
            continue  # Flask responds for the app's route
        response = send(app, path, method)
        response.close()

        assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"], method
        assert response.headers.getlist(HSTS) == ["max-age=31536000"], method


def test_on_loopback_over_http_there_is_no_hsts(make_app: MakeApp, sqlite_store_url: str) -> None:
    response = make_app(sqlite_store_url).test_client().get("/oauth/jwks")

    assert (response.headers["X-Content-Type-Options"], HSTS in response.headers) == ("nosniff", False)


def test_responses_of_the_app_are_its_own(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, **SETTINGS)
    app.add_url_rule("/theirs", "theirs", lambda: "theirs")

    response = app.test_client().get("/theirs")

    assert not {HSTS, "X-Content-Type-Options"} & set(response.headers.keys())


@pytest.mark.parametrize(
    ("of_the_host", "sent"),
    [
        ("max-age=63072000; includeSubDomains; preload", "max-age=63072000; includeSubDomains; preload"),
        ('max-age="300"; includeSubDomains', "max-age=31536000; includeSubDomains"),
        ("max-age=0", "max-age=31536000"),
        ("nonsense", "max-age=31536000; nonsense"),
    ],
)
@pytest.mark.parametrize("path", ["/oauth/jwks", "/account/sign-in", "/api/protected"])
def test_the_stricter_policy_wins(
    path: str, of_the_host: str, sent: str, make_app: MakeApp, sqlite_store_url: str
) -> None:
    app: Flask = make_app(sqlite_store_url, **SETTINGS)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers[HSTS] = of_the_host
        response.headers["X-Content-Type-Options"] = "other"
        return response

    response = app.test_client().get(path)

    assert response.headers.getlist(HSTS) == [sent]
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_refusals_and_metadata_of_a_resource_server_have_both() -> None:
    app = Flask(__name__)
    ResourceServer(
        app,
        trusted_issuers=["https://login.example"],
        resource="https://api.example",
        protect_by_default=True,
        env_prefix=None,
    )
    app.add_url_rule("/api/notes", "notes", lambda: "notes")
    for path in ("/api/notes", "/.well-known/oauth-protected-resource"):
        response = app.test_client().get(path)

        assert response.headers["X-Content-Type-Options"] == "nosniff", path
        assert response.headers[HSTS] == "max-age=31536000", path


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/oauth%2ftoken", None),  # WSGI servers decode the path before it is compared
        ("//oauth/token", 308),
        ("/oauth//token", 308),
        ("%2f/oauth///token", 308),
        ("/oauth/%2ftoken", 308),
        ("/oauth/token/", 404),
    ],
)
def test_a_path_is_compared_decoded_and_repeated_slashes_redirect_to_a_relative_location(
    path: str, status: int | None, method: str, bypass: bool, make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, endpoints_bypass_flask=bypass, **SETTINGS)

    response = send(app, path, method)

    assert response.status_code == (status or {"GET": 405, "POST": 401}[method])
    assert response.headers.get("Location") == ("/oauth/token" if status == 308 else None)
    assert response.headers[HSTS] == "max-age=31536000"
