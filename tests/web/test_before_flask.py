"""Machine endpoints answer the same before Flask as behind it; only the host's hooks are passed by."""

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

from tests.conftest import MakeApp, sign_in_new_account
from tests.support.browser_client import CALLBACK, EMAIL, Browser
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.secret import SESSION, generate_secret
from valetkey.service import create_app
from valetkey.storage import consents
from valetkey.storage.consents import Consent
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

FORM = "application/x-www-form-urlencoded"
VARIES = {"Valetkey-Reference", "Date"}


@pytest.fixture
def behind(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url)


@pytest.fixture
def before(make_app: MakeApp, sqlite_store_url: str, behind: Flask) -> Flask:
    """On the same store."""
    app = make_app(sqlite_store_url, endpoints_bypass_flask=True)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture
def robot(behind: Flask) -> CreatedClient:
    return register_client(behind.extensions["valetkey"], name="Robot", policy="machine")


def basic(robot: CreatedClient) -> tuple[str, str]:
    assert robot.secret is not None
    return robot.client_id, robot.secret.reveal()


REQUESTS: dict[str, dict[str, Any]] = {
    "introspection": {"path": "/oauth/introspect", "data": {"token": "x"}, "auth": basic},
    "revocation": {"path": "/oauth/revoke", "data": {"token": "x"}, "auth": basic},
    "no client": {"path": "/oauth/token", "data": {"grant_type": "client_credentials"}},
    "an unknown grant type": {"path": "/oauth/token", "data": {"grant_type": "password"}, "auth": basic},
    "JSON for a form": {"path": "/oauth/token", "json": {"grant_type": "client_credentials"}, "auth": basic},
    "a parameter twice": {"path": "/oauth/token", "data": "grant_type=a&grant_type=b", "content_type": FORM},
    "too large a body": {"path": "/oauth/token", "data": "a=" + "x" * 70_000, "content_type": FORM},
    "no body": {"path": "/oauth/token"},
    "another method": {"path": "/oauth/token", "method": "GET"},
    "DELETE": {"path": "/oauth/token", "method": "DELETE"},
    "HEAD": {"path": "/oauth/jwks", "method": "HEAD"},
    "OPTIONS": {"path": "/oauth/token", "method": "OPTIONS"},
    "keys": {"path": "/oauth/jwks", "method": "GET"},
    "metadata": {"path": "/.well-known/oauth-authorization-server", "method": "GET"},
    "discovery": {"path": "/.well-known/openid-configuration", "method": "GET"},
    "userinfo without a token": {"path": "/oauth/userinfo", "method": "GET"},
    "limits without a token": {"path": "/oauth/limits", "method": "GET"},
    "a path with a slash more": {"path": "/oauth/token/", "method": "GET"},
}


def send(app: Flask, robot: CreatedClient, request: dict[str, Any]) -> TestResponse:
    known = {**request, "auth": request["auth"](robot)} if "auth" in request else request
    return app.test_client().open(**{"method": "POST", **known})


def told(answer: TestResponse) -> tuple[Any, ...]:
    headers = sorted((name, value) for name, value in answer.headers if name not in VARIES)
    return answer.status_code, headers, answer.data


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_an_answer_is_the_same(behind: Flask, before: Flask, robot: CreatedClient, request_: dict[str, Any]) -> None:
    assert told(send(before, robot, request_)) == told(send(behind, robot, request_))


def test_a_token_is_given_before_flask_sees_the_request(before: Flask, robot: CreatedClient) -> None:
    asked = {"path": "/oauth/token", "data": {"grant_type": "client_credentials", "scope": "profile"}, "auth": basic}
    seen = []

    @before.after_request
    def look(response: Response) -> Response:
        seen.append(response.status_code)
        return response

    assert send(before, robot, asked).json["scope"] == "profile"
    assert seen == []


def test_a_document_that_one_has_already_is_not_sent_again(before: Flask, robot: CreatedClient) -> None:
    client = before.test_client()
    etag = client.get("/oauth/jwks").headers["ETag"]

    assert client.get("/oauth/jwks", headers={"If-None-Match": etag}).status_code == 304


def test_a_body_of_unknown_length_is_read(before: Flask, robot: CreatedClient) -> None:
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
    answer = before.test_client().post(
        "/oauth/token", content_type=FORM, auth=basic(robot), environ_overrides={**chunked, "CONTENT_LENGTH": ""}
    )

    assert answer.status_code == 200


def test_an_endpoint_that_fails_says_so_with_a_reference_that_the_log_has(
    before: Flask, robot: CreatedClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(before.extensions["valetkey"].clients, "find", break_down)

    failed = send(before, robot, {"path": "/oauth/token", "data": {"grant_type": "x"}, "auth": basic})

    assert (failed.status_code, failed.json["error"]) == (500, "server_error")
    assert "stuck" not in failed.text and "the drawer is stuck" in caplog.text
    assert failed.headers["Valetkey-Reference"] in caplog.text


def test_below_a_path_of_the_issuer_too(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="http://127.0.0.1:8000/id", endpoints_bypass_flask=True)

    for path in ("/id/oauth/jwks", "/oauth/jwks"):
        assert app.test_client().get(path).json["keys"]


def test_the_bare_server_answers_before_flask(tmp_path: Any) -> None:
    app = create_app(issuer="http://127.0.0.1:8000", data_dir=str(tmp_path), embedded_worker=False)

    assert app.extensions["valetkey"].settings.endpoints_bypass_flask
    app.extensions["valetkey"].close()


def asked(robot: CreatedClient, **more: str) -> str:
    """The path of an authorization request."""
    known = {
        "response_type": "code",
        "client_id": robot.client_id,
        "redirect_uri": CALLBACK,
        "scope": "profile",
        "state": "1",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    return f"/oauth/authorize?{urlencode({**known, **more})}"


@pytest.fixture
def shop(behind: Flask) -> CreatedClient:
    return register_client(behind.extensions["valetkey"], name="Shop", policy="web", redirect_uris=[CALLBACK])


@pytest.fixture
def ada(behind: Flask, before: Flask, shop: CreatedClient) -> tuple[FlaskClient, FlaskClient]:
    """Ada, signed in, who allowed the shop; before Flask and behind it."""
    first = sign_in_new_account(Browser(behind.test_client(), shop), behind.extensions["valetkey"], EMAIL, "Ada")
    second = before.test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = first.http.get_cookie(name)
        assert cookie is not None
        second.set_cookie(name, cookie.value)
    first.obtain_code()
    before.extensions["valetkey"].get_ready()  # until then Flask is asked
    return first.http, second


AUTHORIZATIONS: dict[str, dict[str, str]] = {
    "remembered": {},
    "without a person to ask": {"prompt": "none"},
    "by a form": {"response_mode": "form_post"},
    "another scope": {"scope": "notes:read"},
    "another scope, nobody to ask": {"scope": "notes:read", "prompt": "none"},
    "asked for": {"prompt": "consent"},
    "without PKCE": {"code_challenge": ""},
    "another redirect URI": {"redirect_uri": "https://elsewhere.example/"},
    "a line break": {"state": "a\r\nSet-Cookie: b=c"},
    "too long": {"state": "x" * 9000},
    "NUL": {"state": "\0"},
    "more fields than anybody reads": {f"x{n}": "1" for n in range(70)},
    "no such client": {"client_id": "nobody"},
    "a client that describes itself": {"client_id": "https://app.invalid/client"},
}


@pytest.mark.parametrize("more", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_whoever_allowed_it_before_is_answered_the_same(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, more: dict[str, str]
) -> None:
    behind, before = (client.get(asked(shop, **more)) for client in ada)

    assert (told(before)[0], without_secrets(before)) == (told(behind)[0], without_secrets(behind))


def send_raw(client: FlaskClient, path: str, before_ours: str = "", **environ: str) -> TestResponse:
    """Ask as the one who is signed in with this client, past its own cookies, which it sends to its own host only."""
    session = client.get_cookie("valetkey_session")
    assert session is not None
    sent = {"HTTP_COOKIE": f"{before_ours}valetkey_session={session.value}", **environ}
    return client.application.test_client(use_cookies=False).get(path, environ_overrides=sent)


@pytest.mark.parametrize("query", ["client_id=%ff", "state=%ed%a0%80", "%00", "&&&", "=", "client_id=a&client_id=b"])
@pytest.mark.parametrize("cookie", ["", "x=\xff; "])
def test_nonsense_is_answered_the_same(ada: tuple[FlaskClient, FlaskClient], query: str, cookie: str) -> None:
    behind, before = (send_raw(client, "/oauth/authorize", cookie, QUERY_STRING=query) for client in ada)

    assert before.status_code == behind.status_code == 400
    assert without_secrets(before) == without_secrets(behind)


@pytest.mark.parametrize(
    "uri", ["https://Shop.EXAMPLE/Back", "HTTPS://shop.example/a[b]?x=[1]", 'https://shop.example/a"<>b|^`{}?a="b']
)
def test_the_way_back_is_written_the_same(ada: tuple[FlaskClient, FlaskClient], behind: Flask, uri: str) -> None:
    runtime = behind.extensions["valetkey"]
    other = register_client(runtime, name="Other", policy="web", redirect_uris=[uri])
    consent = Consent("ada", other.client_id, "profile", 0, 0, None)
    runtime.store.write(Transaction(rows=(consents.remember(consent),)))

    asked_of = [client.get(asked(other, redirect_uri=uri)) for client in ada]

    assert [answer.status_code for answer in asked_of] == [303, 303]
    assert without_secrets(asked_of[0]) == without_secrets(asked_of[1])


def test_what_fails_there_fails_again_in_flask_which_has_a_page_for_it(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> Any:
        raise RuntimeError("the drawer is stuck")

    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.required_prompt", break_down)
    monkeypatch.setattr("valetkey.authorization_server.views.required_prompt", break_down)
    answer = ada[1].get(asked(shop))

    assert answer.status_code == 500
    assert "Something went wrong" in answer.text


def test_hosts_that_flask_is_told_to_trust_count(
    ada: tuple[FlaskClient, FlaskClient], before: Flask, shop: CreatedClient
) -> None:
    before.config["TRUSTED_HOSTS"] = ["localhost"]

    for path in (asked(shop), "/oauth/jwks"):
        assert send_raw(ada[1], path, HTTP_HOST="evil.example").status_code == 400, path


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_no_document_is_fetched_for_an_answer_that_cannot_come(
    ada: tuple[FlaskClient, FlaskClient], shop: CreatedClient, monkeypatch: pytest.MonkeyPatch, is_signed_in: bool
) -> None:
    """A client that describes itself is asked about each time; and anybody can make up a well-formed cookie."""
    looked = []
    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.check_target", lambda *_: looked.append(1))
    if not is_signed_in:
        ada[1].set_cookie("valetkey_session", generate_secret(SESSION).reveal())

    ada[1].get(asked(shop, client_id="https://app.invalid/client") if is_signed_in else asked(shop))

    assert looked == []


def without_secrets(answer: TestResponse) -> list[tuple[str, str]]:
    known = re.compile(r"vk_\w+|(?<=/consent/)\w+|(?<=Expires=)[^;]+")
    return sorted((name, known.sub("*", value)) for name, value in answer.headers if name != "Content-Length")


def test_a_code_is_given_before_flask_sees_the_request(
    ada: tuple[FlaskClient, FlaskClient], before: Flask, shop: CreatedClient
) -> None:
    seen = []
    before.after_request(lambda response: seen.append(response.status_code) or response)

    answers = [ada[1].get(asked(shop)), ada[1].get(asked(shop, prompt="consent"))]

    assert [f"{CALLBACK}?code=" in answer.headers["Location"] for answer in answers] == [True, False]
    assert seen == [303]  # of the page that has to ask


def test_while_the_store_is_down_the_person_is_told_so_after_one_try(
    ada: tuple[FlaskClient, FlaskClient], before: Flask, shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def down(*_: Any) -> Any:
        tries.append(1)
        raise StoreUnavailable("nobody answers")

    monkeypatch.setattr("valetkey.authorization_server.authorize.fast_path.issue_remembered", down)
    monkeypatch.setattr("valetkey.authorization_server.views.issue_remembered", down)
    answer = ada[1].get(asked(shop))

    assert (answer.status_code, answer.headers["Retry-After"], tries) == (503, "2", [1])
    assert "The server cannot answer right now" in answer.text
