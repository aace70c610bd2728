"""Request bodies are read completely, with every server's input stream, or the request is refused."""

from __future__ import annotations

import io
import re
import socket
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, CODE_VERIFIER, EMAIL, Browser, sign_in_new_account
from tests.support.store_assertions import assert_store_unchanged
from tests.support.wsgi_servers import PLAIN_APP, served_app
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.web.request_body import RecordedInput

FORM = "application/x-www-form-urlencoded"


class _StrictStream:
    """An input stream that refuses negative sizes, as granian's does."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, *size: int) -> bytes:
        assert all(number >= 0 for number in size)
        return self._stream.read(*size)

    readline = readlines = read


def test_a_stream_that_refuses_negative_sizes_is_read_to_its_end() -> None:
    for size in ((), (-1,), (None,)):
        recorded_input = RecordedInput(_StrictStream(b"a=b"))

        assert recorded_input.read(*size) == b"a=b"
        assert recorded_input.recorded == b"a=b"


class _BrokenStream(io.BytesIO):
    """An input stream that fails at its end, as that of mod_wsgi if the connection is closed."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError("Apache/mod_wsgi failed to read the request data")
        return data


class _SlowStream(io.BytesIO):
    """An input stream that returns at most three bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


@pytest.fixture(params=["Flask", "before Flask", "Flask, after a hook"])
def ada(request: pytest.FixtureRequest, make_app: MakeApp, sqlite_store_url: str) -> Browser:
    """The browser of Ada, whose requests go through Flask, or to endpoints before it."""
    app = make_app(sqlite_store_url, endpoints_bypass_flask=request.param == "before Flask")
    if request.param == "Flask, after a hook":
        app.before_request(read_everything)
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    browser = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    browser.http.get("/oauth/jwks")  # Flask handles the first request
    return browser


def read_everything() -> None:
    """Read the body as a hook of a host app that does not notice if it is incomplete."""
    request.environ["wsgi.input"].read(2)


def post(browser: Browser, path: str, form: Any, *, length: Any = None, make_stream: Any = io.BytesIO) -> TestResponse:
    """Send a form with another Content-Length than it has, as gunicorn passes it to the app."""
    body = urlencode(form, doseq=True).encode()
    environ = {"CONTENT_LENGTH": str(len(body) if length is None else length), "wsgi.input_terminated": True}
    return browser.http.open(
        path,
        method="POST",
        input_stream=make_stream(body),
        content_type=FORM,
        auth=browser.auth if path.startswith("/oauth/token") else None,
        environ_overrides=environ,
    )


def redemption(code: str) -> dict[str, str]:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    return {**fields, "code_verifier": CODE_VERIFIER}


@pytest.mark.parametrize("make_stream", [io.BytesIO, _BrokenStream])
def test_a_redemption_that_is_cut_off_does_not_use_the_code(ada: Browser, make_stream: Any) -> None:
    form = redemption(ada.obtain_code())

    refused = post(ada, "/oauth/token", form, length=2000, make_stream=make_stream)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_request")
    assert "not received completely" in refused.json["error_description"]
    assert post(ada, "/oauth/token", form).status_code == 200


@pytest.mark.parametrize("make_stream", [io.BytesIO, _BrokenStream])
def test_a_consent_form_that_is_cut_off_decides_nothing(ada: Browser, make_stream: Any) -> None:
    path = ada.authorize(scope="profile notes:read").location
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', ada.get(path).text)
    assert token is not None
    form = {"csrf_token": token[1], "decision": "allow", "scope": ["profile"]}
    runtime: Runtime = ada.http.application.extensions["valetkey"]

    with assert_store_unchanged(runtime):
        refused = post(ada, path, form, length=2000, make_stream=make_stream)

    assert refused.status_code == 400 and "not received completely" in refused.text
    assert "code=" in post(ada, path, form).location


@pytest.mark.parametrize("body", [b"zz\r\na=b\r\n0\r\n\r\n", b"3\r\na=bcd\r\n0\r\n\r\n"], ids=["size", "end"])
def test_a_malformed_chunk_is_refused_under_gunicorn(body: bytes) -> None:
    with served_app("gunicorn", PLAIN_APP, {}) as server:
        host = server.url.removeprefix("http://")
        with socket.create_connection(host.split(":"), timeout=30) as connection:
            fields = f"Host: {host}\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            connection.sendall(f"POST /oauth/token HTTP/1.1\r\n{fields}".encode() + body)
            response = connection.makefile("rb").read().decode()

        assert response.startswith("HTTP/1.1 400 ") and "not received completely" in response, response
        assert "Traceback" not in server.log


def test_a_body_that_arrives_in_pieces_is_read_to_its_end(ada: Browser) -> None:
    form = redemption(ada.obtain_code())

    assert post(ada, "/oauth/token", form, make_stream=_SlowStream).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/account/sign-in"])
@pytest.mark.parametrize("length", ["9" * 5000, "65537", "0" * 5000 + "70000"])
def test_a_body_that_is_too_large_is_refused_by_its_length(ada: Browser, path: str, length: str) -> None:
    assert post(ada, path, {"a": "b"}, length=length).status_code == 413


def test_leading_zeros_of_the_length_count_for_nothing(ada: Browser) -> None:
    form = redemption(ada.obtain_code())

    assert post(ada, "/oauth/token", form, length="0" * 5000 + str(len(urlencode(form)))).status_code == 200


def test_a_hook_can_read_the_body_after_a_page(make_app: MakeApp, sqlite_store_url: str) -> None:
    app: Flask = make_app(sqlite_store_url)
    bodies: list[bytes] = []

    @app.after_request
    def record(response: Any) -> Any:
        bodies.append(request.get_data())
        return response

    app.test_client().post("/account/sign-in", data={"email": "x"})

    assert bodies == [b"email=x"]
