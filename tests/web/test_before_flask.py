"""Machine endpoints respond before Flask exactly as through Flask, and only if nothing of the host app's is skipped."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, EMAIL, Browser, sign_in_new_account
from valetkey import SettingsError
from valetkey.authorization_server.authorize import decision
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.secret import SESSION, generate_secret
from valetkey.service import create_app
from valetkey.storage import accounts, consents, sessions
from valetkey.storage.consents import Consent
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

FORM = "application/x-www-form-urlencoded"
VARYING_HEADERS = {"Valetkey-Reference", "Date"}


@pytest.fixture
def robot(flask_app: Flask) -> CreatedClient:
    return register_client(
        flask_app.extensions["valetkey"], flask_app.extensions["valetkey"].clock(), name="Robot", policy="machine"
    )


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
    "another host": {"path": "/oauth/jwks", "method": "GET", "base_url": "http://other.example"},
    "a forwarded host": {"path": "/oauth/jwks", "method": "GET", "headers": {"X-Forwarded-Host": "other.example"}},
    "a web origin": {"path": "/oauth/token", "headers": {"Origin": "https://spa.example"}},
    "trailing slash": {"path": "/oauth/token/", "method": "GET"},
}


def send(app: Flask, robot: CreatedClient, request: dict[str, Any]) -> TestResponse:
    options = {**request, "auth": request["auth"](robot)} if "auth" in request else request
    return app.test_client().open(**{"method": "POST", **options})


def comparable(response: TestResponse) -> tuple[Any, ...]:
    """Status, headers in their order, and body, without headers that differ for each request."""
    headers = [(name, value) for name, value in response.headers if name not in VARYING_HEADERS]
    return response.status, headers, response.data


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_response_is_the_same_with_and_without_flask(
    flask_app: Flask, bypass_app: Flask, robot: CreatedClient, request_: dict[str, Any]
) -> None:
    assert comparable(send(bypass_app, robot, request_)) == comparable(send(flask_app, robot, request_))


TOKEN_REQUEST = {"path": "/oauth/token", "data": {"grant_type": "client_credentials"}, "auth": basic}


def test_token_request_does_not_reach_flask(bypass_app: Flask, robot: CreatedClient, in_flask: list[str]) -> None:
    assert send(bypass_app, robot, TOKEN_REQUEST).status_code == 200
    assert in_flask == []


def test_the_first_request_reaches_flask_which_then_checks_the_app(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str]
) -> None:
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.add_url_rule("/oauth/token", "host_token", lambda: "", methods=["POST"])

    with pytest.raises(SettingsError, match="is served by Valetkey and by the app's endpoint 'host_token'"):
        app.test_client().post("/oauth/token")


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
    return register_client(
        flask_app.extensions["valetkey"],
        flask_app.extensions["valetkey"].clock(),
        name="Shop",
        policy="web",
        redirect_uris=[CALLBACK],
    )


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
    other = register_client(runtime, runtime.clock(), name="Other", policy="web", redirect_uris=[uri])
    client = runtime.clients.find(other.client_id, runtime.clock())
    consent = Consent("ada", other.client_id, "profile", 0, 0, None, client.identity)
    runtime.store.write(Transaction(rows=(consents.remember(consent),)))

    responses = [client.get(authorize_path(other, redirect_uri=uri)) for client in ada]

    assert [response.status_code for response in responses] == [303, 303]
    assert without_secrets(responses[0]) == without_secrets(responses[1])


def test_unexpected_exception_in_the_fast_path_is_logged_and_shows_the_error_page(
    ada: tuple[FlaskClient, FlaskClient],
    shop: CreatedClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    monkeypatch.setattr(decision, "required_prompt", fail)
    response = ada[1].get(authorize_path(shop))

    assert response.status_code == 500
    assert "Something went wrong" in response.text
    assert caplog.text.count("RuntimeError: the drawer is stuck") == 1


def test_trusted_hosts_of_flask_are_enforced(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient
) -> None:
    bypass_app.config["TRUSTED_HOSTS"] = ["localhost"]

    for path in (authorize_path(shop), "/oauth/jwks"):
        assert send_raw(ada[1], path, HTTP_HOST="evil.example").status_code == 400, path


PROMPTS_AND_REFUSALS = {
    **{name: AUTHORIZATIONS[name] for name in ("another scope", "another scope, prompt=none", "prompt=consent")},
    "form_post": {"response_mode": "form_post"},
    "unknown acr": {"claims": '{"id_token": {"acr": {"essential": true, "value": "x"}}}'},
}


@pytest.mark.parametrize("is_cached", [False, True], ids=["session read", "session cached"])
@pytest.mark.parametrize("parameters", PROMPTS_AND_REFUSALS.values(), ids=PROMPTS_AND_REFUSALS)
def test_request_that_must_prompt_is_checked_once(
    ada: tuple[FlaskClient, FlaskClient],
    shop: CreatedClient,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, str],
    is_cached: bool,
) -> None:
    checks = count_checks(monkeypatch)
    for browser in ada:
        if is_cached:
            assert "code=" in browser.get(authorize_path(shop)).headers["Location"]
        checks.clear()

        browser.get(authorize_path(shop, **parameters))

        assert checks == ["check_target", "check_request", "required_prompt"]


def test_request_with_a_made_up_session_cookie_is_checked_once(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = count_checks(monkeypatch)
    for browser in ada:
        browser.set_cookie("valetkey_session", generate_secret(SESSION).reveal())
        checks.clear()

        response = browser.get(authorize_path(shop))

        assert "/consent/" in response.headers["Location"]
        assert checks == ["check_target", "check_request", "required_prompt"]


def count_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each check of an authorization request adds its name."""
    checks: list[str] = []

    def record(name: str, check: Any, *arguments: Any, **options: Any) -> Any:
        checks.append(name)
        return check(*arguments, **options)

    for name in ("check_target", "check_request", "required_prompt"):
        monkeypatch.setattr(decision, name, partial(record, name, getattr(decision, name)))
    return checks


def test_cached_session_that_has_ended_decides_about_no_prompt(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, flask_app: Flask
) -> None:
    for browser in ada:
        assert "code=" in browser.get(authorize_path(shop)).headers["Location"]
    runtime = flask_app.extensions["valetkey"]
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    runtime.store.write(Transaction(rows=(sessions.end_all(account.sub, runtime.clock()),)))

    for browser in ada:
        for parameters in ({"scope": "notes:read"}, {}):
            response = browser.get(authorize_path(shop, prompt="none", **parameters))
            assert "error=login_required" in response.headers["Location"], parameters


def test_exception_in_the_fast_path_is_logged_if_a_hook_of_the_host_responds(
    ada: tuple[FlaskClient, FlaskClient],
    bypass_app: Flask,
    shop: CreatedClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    def fail_and_close(*_: Any, **__: Any) -> Any:
        """Fail, while the host adds a hook."""
        bypass_app.before_request_funcs.setdefault(None, []).append(lambda: Response("closed", 503))
        fail()

    monkeypatch.setattr(decision, "required_prompt", fail_and_close)

    response = ada[1].get(authorize_path(shop))

    assert (response.status_code, response.text) == (503, "closed")
    assert caplog.text.count("RuntimeError: the drawer is stuck") == 1


def without_secrets(response: TestResponse) -> list[tuple[str, str]]:
    """Return the headers, with random values and times replaced."""
    random_values = re.compile(r"vk_\w+|(?<=/consent/)\w+|(?<=Expires=)[^;]+")
    return sorted((name, random_values.sub("*", value)) for name, value in response.headers if name != "Content-Length")


def test_authorization_request_with_a_remembered_consent_does_not_reach_flask(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient, in_flask: list[str]
) -> None:
    assert f"{CALLBACK}?code=" in ada[1].get(authorize_path(shop)).headers["Location"]
    assert in_flask == []

    assert "/consent/" in ada[1].get(authorize_path(shop, prompt="consent")).headers["Location"]
    assert in_flask


def test_authorization_request_reaches_flask_if_the_host_has_a_hook(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient
) -> None:
    bypass_app.before_request_funcs.setdefault(None, []).append(lambda: Response("closed", 503))

    assert ada[1].get(authorize_path(shop)).text == "closed"


def test_store_outage_shows_the_error_page_after_a_single_attempt(
    ada: tuple[FlaskClient, FlaskClient], bypass_app: Flask, shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def fail(*_: Any) -> Any:
        attempts.append(1)
        raise StoreUnavailable("the database does not respond")

    monkeypatch.setattr(decision, "issue_remembered", fail)
    response = ada[1].get(authorize_path(shop))

    assert (response.status_code, response.headers["Retry-After"], attempts) == (503, "2", [1])
    assert "The server is temporarily unavailable; try again." in response.text
