"""One rule for paths with repeated slashes: under each server, with and without Flask, and behind a prefix."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.wsgi_servers import served_app

ISSUER = "https://id.example"
APP = """
from flask import Flask
from valetkey import Valetkey, public

app = Flask(__name__)
Valetkey(app, scopes={"profile": "See your name"})


@app.get("/host/view")
@public
def view():
    return "host"
"""


def send(app: Flask, path: str, method: str = "GET", query: str = "") -> TestResponse:
    """Send a request to a path as it is: a test client takes ``//oauth/token`` for a host and a path."""
    environ = {"PATH_INFO": unquote(path), "QUERY_STRING": query}
    return app.test_client().open("/", method=method, environ_overrides=environ)


@pytest.mark.parametrize(
    "path",
    [
        *("//oauth/authorize", "/oauth//authorize", "//account", "/account//sign-in", "//docs", "//openapi.json"),
        *("//.well-known/oauth-authorization-server", "/.well-known//openid-configuration", "//llms.txt"),
        *("//.well-known/oauth-protected-resource", "/.well-known//security.txt", "//.well-known//api-catalog"),
    ],
)
@pytest.mark.parametrize("bypass", [False, True])
def test_every_path_of_valetkey_with_repeated_slashes_redirects_in_the_same_way(
    path: str, bypass: bool, make_app: MakeApp, sqlite_store_url: str
) -> None:
    contact = {"security_contact": "mailto:security@example.com"}
    app = make_app(sqlite_store_url, endpoints_bypass_flask=bypass, issuer=ISSUER, **contact)

    response = send(app, path, query="a=%2F%2F&b=\xe9//")

    assert (response.status_code, response.get_data()) == (308, b"")
    assert response.headers["Location"] == re.sub("/+", "/", path) + "?a=%2F%2F&b=%E9//"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("path", ["//evil.example/oauth/token", "///evil.example//oauth/token", "/%5C/oauth/token"])
def test_a_path_of_the_host_with_repeated_slashes_is_left_to_flask(
    path: str, make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, issuer=ISSUER)
    app.add_url_rule("/mine", "mine", lambda: "mine")

    assert send(app, path).status_code in {308, 404}
    assert "oauth" not in urlsplit(send(app, path).headers.get("Location", "")).path.split("/")[1:2]
    assert send(app, "//mine").text == "mine"


@pytest.mark.parametrize(
    ("script", "path", "location"),
    [
        ("", "/shop//oauth/token", "/shop/oauth/token"),
        ("", "//shop/oauth/token", "/shop/oauth/token"),
        ("/shop", "//oauth/token", "/shop/oauth/token"),
        ("", "//oauth/token", "/shop/oauth/token"),  # the proxy has removed the path
        ("//evil.example/shop", "//oauth/token", "/evil.example/shop/oauth/token"),
    ],
)
def test_behind_a_prefix_the_location_has_the_prefix(
    script: str, path: str, location: str, make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, issuer="https://example.com/shop")
    environ = {"SCRIPT_NAME": script, "PATH_INFO": path}

    response = app.test_client().post("/", environ_overrides=environ)

    assert (response.status_code, response.headers["Location"]) == (308, location)


def _post(url: str, path: str) -> tuple[int, Mapping[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", path, body="grant_type=x", headers={"Content-Type": "text/plain"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers
    finally:
        connection.close()


@pytest.mark.parametrize("bypass", ["true", "false"])
@pytest.mark.parametrize("server", ["valetkey serve", "gunicorn", "uwsgi"])
def test_the_rule_is_the_same_under_each_server(server: str, bypass: str) -> None:
    settings = {"VALETKEY_ENDPOINTS_BYPASS_FLASK": bypass}
    with served_app(server, APP, settings) as served:
        expected, _ = _post(served.url, "/oauth/token")
        assert expected in {400, 401}
        assert _post(served.url, "/oauth%2ftoken")[0] == expected
        for path in ("//oauth/token", "/oauth//token", "/oauth/%2ftoken", "/%2Foauth%2Ftoken"):
            status, headers = _post(served.url, path)
            assert (status, headers["Location"]) == (308, "/oauth/token"), path
            assert headers["X-Content-Type-Options"] == "nosniff"
