"""With ``endpoints_bypass_flask``, endpoints respond exactly as through Flask, but without calling the host's hooks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, EMAIL, Browser, sign_in_new_account
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.secret import SESSION, generate_secret
from valetkey.service import create_app
from valetkey.storage import consents
from valetkey.storage.consents import Consent
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

FORM = "application/x-www-form-urlencoded"
VARYING_HEADERS = {"Valetkey-Reference", "Date"}


@pytest.fixture
def flask_app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url)


@pytest.fixture
def bypass_app(make_app: MakeApp, sqlite_store_url: str, flask_app: Flask) -> Flask:
    """An app on the same store whose endpoints respond without Flask."""
    app = make_app(sqlite_store_url, endpoints_bypass_flask=True)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture
def robot(flask_app: Flask) -> CreatedClient:
    return register_client(flask_app.extensions["valetkey"], name="Robot", policy="machine")


def basic(robot: CreatedClient) -> tuple[str, str]:
    assert robot.secret is not None
    return robot.client_id, robot.secret.reveal()


REQUESTS: dict[str, dict[str, Any]] = {
    "introspection": {"path": "/oauth/introspect", "data": {"token": "x"}, "auth": basic},
    "revocation": {"path": "/oauth/revoke", "data": {"token": "x"}, "auth": basic},
    "no client authentication": {"path": "/oauth/token", "data": {"grant_type": "client_credentials"}},
    "unknown grant type": {"path": "/oauth/token", "data": {"grant_type": "password"}, "auth": basic},
    "JSON instead of a form": {"path": "/oauth/token", "json": {"grant_type": "client_credentials"}, "auth": basic},
    "repeated parameter": {"path": "/oauth/token", "data": "grant_type=a&grant_type=b", "content_type": FORM},
    "body too large": {"path": "/oauth/token", "data": "a=" + "x" * 70_000, "content_type": FORM},
    "no body": {"path": "/oauth/token"},
    "GET": {"path": "/oauth/token", "method": "GET"},
    "DELETE": {"path": "/oauth/token", "method": "DELETE"},
    "HEAD": {"path": "/oauth/jwks", "method": "HEAD"},
    "OPTIONS": {"path": "/oauth/token", "method": "OPTIONS"},
    "keys": {"path": "/oauth/jwks", "method": "GET"},
    "metadata": {"path": "/.well-known/oauth-authorization-server", "method": "GET"},
    "discovery": {"path": "/.well-known/openid-configuration", "method": "GET"},
    "userinfo without a token": {"path": "/oauth/userinfo", "method": "GET"},
    "limits without a token": {"path": "/oauth/limits", "method": "GET"},
    "trailing slash": {"path": "/oauth/token/", "method": "GET"},
}


def send(app: Flask, robot: CreatedClient, request: dict[str, Any]) -> TestResponse:
    options = {**request, "auth": request["auth"](robot)} if "auth" in request else request
    return app.test_client().open(**{"method": "POST", **options})


def comparable(response: TestResponse) -> tuple[Any, ...]:
    """Status, headers and body, without headers that differ for each request."""
    headers = sorted((name, value) for name, value in response.headers if name not in VARYING_HEADERS)
    return response.status_code, headers, response.data


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_response_is_the_same_with_and_without_flask(
    flask_app: Flask, bypass_app: Flask, robot: CreatedClient, request_: dict[str, Any]
) -> None:
    assert comparable(send(bypass_app, robot, request_)) == comparable(send(flask_app, robot, request_))


def test_token_request_does_not_reach_flask(bypass_app: Flask, robot: CreatedClient) -> None:
    request_ = {"path": "/oauth/token", "data": {"grant_type": "client_credentials", "scope": "profile"}, "auth": basic}
    statuses_in_flask = []

    @bypass_app.after_request
    def record_status(response: Response) -> Response:
        statuses_in_flask.append(response.status_code)
        return response

    assert send(bypass_app, robot, request_).json["scope"] == "profile"
    assert statuses_in_flask == []


def test_conditional_request_for_an_unchanged_document_returns_304(bypass_app: Flask, robot: CreatedClient) -> None:
    client = bypass_app.test_client()
    etag = client.get("/oauth/jwks").headers["ETag"]

    assert client.get("/oauth/jwks", headers={"If-None-Match": etag}).status_code == 304


def test_body_of_unknown_length_is_read(bypass_app: Flask, robot: CreatedClient) -> None:
    def body() -> Iterator[bytes]:
        yield b"grant_type=client_"
        yield b"credentials"

    class Chunks:
        def __init__(self) -> None:
            self._rest = b"".join(body())

        def read(self, size: int = -1) -> bytes:
            part, self._rest = self._rest[:size], self._rest[size:]
            return part

    chunked = {"wsgi.input": Chunks(), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = bypass_app.test_client().post(
        "/oauth/token", content_type=FORM, auth=basic(robot), environ_overrides={**chunked, "CONTENT_LENGTH": ""}
    )

    assert response.status_code == 200


def test_unexpected_exception_in_an_endpoint_returns_500_with_the_reference_of_its_log_line(
    bypass_app: Flask, robot: CreatedClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(bypass_app.extensions["valetkey"].clients, "find", fail)

    failed = send(bypass_app, robot, {"path": "/oauth/token", "data": {"grant_type": "x"}, "auth": basic})

    assert (failed.status_code, failed.json["error"]) == (500, "server_error")
    assert "stuck" not in failed.text and "the drawer is stuck" in caplog.text
    assert failed.headers["Valetkey-Reference"] in caplog.text


def test_endpoints_are_served_below_the_path_of_the_issuer_too(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="http://127.0.0.1:8000/id", endpoints_bypass_flask=True)

    for path in ("/id/oauth/jwks", "/oauth/jwks"):
        assert app.test_client().get(path).json["keys"]


def test_standalone_server_bypasses_flask_by_default(tmp_path: Any) -> None:
    app = create_app(issuer="http://127.0.0.1:8000", data_dir=str(tmp_path), embedded_worker=False)

    assert app.extensions["valetkey"].settings.endpoints_bypass_flask
    app.extensions["valetkey"].close()


def authorize_path(client: CreatedClient, **parameters: str) -> str:
    """Return the path and query of an authorization request."""
    defaults = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "profile",
        "state": "1",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    return f"/oauth/authorize?{urlencode({**defaults, **parameters})}"


@pytest.fixture
def shop(flask_app: Flask) -> CreatedClient:
    return register_client(flask_app.extensions["valetkey"], name="Shop", policy="web", redirect_uris=[CALLBACK])


@pytest.fixture
def ada(flask_app: Flask, bypass_app: Flask, shop: CreatedClient) -> tuple[FlaskClient, FlaskClient]:
    """Two browsers of Ada, who is signed in and has granted access to the shop: one for each app."""
    browser = sign_in_new_account(
        Browser(flask_app.test_client(), shop), flask_app.extensions["valetkey"], EMAIL, "Ada"
    )
    second = bypass_app.test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = browser.http.get_cookie(name)
        assert cookie is not None
        second.set_cookie(name, cookie.value)
    browser.obtain_code()
    bypass_app.extensions["valetkey"].get_ready()  # until then, requests are passed on to Flask
    return browser.http, second


AUTHORIZATIONS: dict[str, dict[str, str]] = {
    "remembered consent": {},
    "prompt=none": {"prompt": "none"},
    "response_mode=form_post": {"response_mode": "form_post"},
    "another scope": {"scope": "notes:read"},
    "another scope, prompt=none": {"scope": "notes:read", "prompt": "none"},
    "prompt=consent": {"prompt": "consent"},
    "without PKCE": {"code_challenge": ""},
    "another redirect URI": {"redirect_uri": "https://elsewhere.example/"},
    "line break": {"state": "a\r\nSet-Cookie: b=c"},
    "state too long": {"state": "x" * 9000},
    "NUL": {"state": "\0"},
    "too many parameters": {f"x{n}": "1" for n in range(70)},
    "unknown client": {"client_id": "nobody"},
    "client with a metadata document": {"client_id": "https://app.invalid/client"},
}


@pytest.mark.parametrize("parameters", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_authorization_response_is_the_same_with_and_without_flask(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, parameters: dict[str, str]
) -> None:
    flask_response, bypass_response = (client.get(authorize_path(shop, **parameters)) for client in ada)

    assert bypass_response.status_code == flask_response.status_code
    assert without_secrets(bypass_response) == without_secrets(flask_response)


def send_raw(client: FlaskClient, path: str, other_cookies: str = "", **environ: str) -> TestResponse:
    """Send a request with the client's session cookie, also to another host; the client itself would not do that."""
    session = client.get_cookie("valetkey_session")
    assert session is not None
    overrides = {"HTTP_COOKIE": f"{other_cookies}valetkey_session={session.value}", **environ}
    return client.application.test_client(use_cookies=False).get(path, environ_overrides=overrides)


@pytest.mark.parametrize("query", ["client_id=%ff", "state=%ed%a0%80", "%00", "&&&", "=", "client_id=a&client_id=b"])
@pytest.mark.parametrize("cookie", ["", "x=\xff; "])
def test_malformed_request_is_refused_in_the_same_way_with_and_without_flask(
    ada: tuple[FlaskClient, FlaskClient], query: str, cookie: str
) -> None:
    flask_response, bypass_response = (
        send_raw(client, "/oauth/authorize", cookie, QUERY_STRING=query) for client in ada
    )

    assert bypass_response.status_code == flask_response.status_code == 400
    assert without_secrets(bypass_response) == without_secrets(flask_response)


@pytest.mark.parametrize(
    "uri", ["https://Shop.EXAMPLE/Back", "HTTPS://shop.example/a[b]?x=[1]", 'https://shop.example/a"<>b|^`{}?a="b']
)
def test_redirect_location_is_encoded_in_the_same_way_with_and_without_flask(
    ada: tuple[FlaskClient, FlaskClient], flask_app: Flask, uri: str
) -> None:
    runtime = flask_app.extensions["valetkey"]
    other = register_client(runtime, name="Other", policy="web", redirect_uris=[uri])
    consent = Consent("ada", other.client_id, "profile", 0, 0, None)
    runtime.store.write(Transaction(rows=(consents.remember(consent),)))

    responses = [client.get(authorize_path(other, redirect_uri=uri)) for client in ada]

    assert [response.status_code for response in responses] == [303, 303]
    assert without_secrets(responses[0]) == without_secrets(responses[1])


def test_unexpected_exception_in_the_fast_path_shows_the_error_page(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.required_prompt", fail)
    monkeypatch.setattr("valetkey.authorization_server.views.required_prompt", fail)
    response = ada[1].get(authorize_path(shop))

    assert response.status_code == 500
    assert "Something went wrong" in response.text


def test_trusted_hosts_of_flask_are_enforced(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient
) -> None:
    bypass_app.config["TRUSTED_HOSTS"] = ["localhost"]

    for path in (authorize_path(shop), "/oauth/jwks"):
        assert send_raw(ada[1], path, HTTP_HOST="evil.example").status_code == 400, path


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_fast_path_does_not_look_up_the_client_if_it_cannot_issue_a_code(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, monkeypatch: pytest.MonkeyPatch, is_signed_in: bool
) -> None:
    """A client with a metadata document always needs consent, and a well-formed session cookie can be made up."""
    lookups = []
    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.check_target", lambda *_: lookups.append(1))
    if not is_signed_in:
        ada[1].set_cookie("valetkey_session", generate_secret(SESSION).reveal())

    ada[1].get(authorize_path(shop, client_id="https://app.invalid/client") if is_signed_in else authorize_path(shop))

    assert lookups == []


def without_secrets(response: TestResponse) -> list[tuple[str, str]]:
    """Return the headers, with random values and times replaced."""
    random_values = re.compile(r"vk_\w+|(?<=/consent/)\w+|(?<=Expires=)[^;]+")
    return sorted((name, random_values.sub("*", value)) for name, value in response.headers if name != "Content-Length")


def test_authorization_request_with_a_remembered_consent_does_not_reach_flask(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient
) -> None:
    statuses_in_flask = []
    bypass_app.after_request(lambda response: statuses_in_flask.append(response.status_code) or response)

    responses = [ada[1].get(authorize_path(shop)), ada[1].get(authorize_path(shop, prompt="consent"))]

    assert [f"{CALLBACK}?code=" in response.headers["Location"] for response in responses] == [True, False]
    assert statuses_in_flask == [303]  # the redirect to the consent page


def test_store_outage_shows_the_error_page_after_a_single_attempt(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def fail(*_: Any) -> Any:
        attempts.append(1)
        raise StoreUnavailable("the database does not respond")

    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.issue_remembered", fail)
    monkeypatch.setattr("valetkey.authorization_server.views.issue_remembered", fail)
    response = ada[1].get(authorize_path(shop))

    assert (response.status_code, response.headers["Retry-After"], attempts) == (503, "2", [1])
    assert "The server cannot answer right now" in response.text
