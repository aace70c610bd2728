"""Redirect URIs (RFC 6749 §3.1.2, RFC 9700 §2.1, RFC 8252 §7) and resource indicators (RFC 8707 §2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.redirect_uri import redirect_uri_matches, redirect_uri_problem
from valetkey.protocol.uri import resource_uri_problem

LOOPBACK = ("http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb")


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb",
        "https://app.example",
        "https://app.example:8443/cb?a=b",
        "http://127.0.0.1:8080/cb",
        "http://[::1]/cb",
        "http://localhost:3000/",
    ],
)
def test_https_and_loopback_redirect_uris_can_be_registered(uri: str) -> None:
    assert redirect_uri_problem(uri, native=False) is None
    assert redirect_uri_problem(uri, native=True) is None


@pytest.mark.parametrize("uri", ["com.example.app:/cb", "com.example.app://cb", "org.example:/"])
def test_a_private_use_scheme_with_a_dot_is_allowed_for_native_apps_only(uri: str) -> None:
    assert redirect_uri_problem(uri, native=True) is None
    assert redirect_uri_problem(uri, native=False) is not None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "cb",
        "/cb",
        "//app.example/cb",
        "https://app..example/cb",
        f"https://{'a' * 64}.example/cb",
        "https:",
        "https://",
        "https:///cb",
        "https://app.example/cb#",
        "https://app.example/cb#a",
        "https://user@app.example/cb",
        "https://user:password@app.example/cb",
        "https://app.example:80@evil.example/cb",
        "https://app.example:99999/cb",
        "https://app.example:x/cb",
        "https://app.example:0/cb",
        "https://[::1/cb",
        "https://app.example\\@evil.example",
        "https://app.example/c b",
        "https://app.example/cb\n",
        "https://app.example/\x00",
        "https://äpp.example/cb",
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.2/cb",
        "http://0.0.0.0/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://localhost.evil.example/cb",
        "myapp:/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java.script:alert(1)#",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://app.example/x",
        "about:blank",
        "mailto:a@example.org",
        "ftp://app.example/",
        "ws://app.example/",
        "view-source:https://app.example/",
        "https://app.example/" + "a" * 2000,
    ],
)
def test_other_redirect_uris_cannot_be_registered(uri: str) -> None:
    assert redirect_uri_problem(uri, native=True) is not None
    assert redirect_uri_problem(uri, native=False) is not None


@given(st.text(max_size=60))
def test_any_text_is_checked_without_an_exception(text: str) -> None:
    for problem in (redirect_uri_problem(text, native=True), resource_uri_problem(text)):
        assert problem is None or problem


@given(st.integers(1, 65535), st.sampled_from(LOOPBACK))
def test_a_loopback_uri_of_a_native_app_can_have_any_port(port: int, registered: str) -> None:
    requested = registered.replace("/cb", f":{port}/cb")

    assert redirect_uri_matches(requested, (registered,), native=True)
    assert not redirect_uri_matches(requested, (registered,), native=False)


@pytest.mark.parametrize("registered", LOOPBACK)
def test_different_loopback_hosts_do_not_match(registered: str) -> None:
    matching = [uri for uri in LOOPBACK if redirect_uri_matches(uri, (registered,), native=True)]

    assert matching == [registered]


@given(st.text(max_size=40))
def test_only_the_registered_redirect_uri_matches(text: str) -> None:
    registered = "https://app.example/cb"

    assert redirect_uri_matches(text, (registered,), native=False) is (text == registered)
    assert redirect_uri_matches(registered + text, (registered,), native=False) is (text == "")


@pytest.mark.parametrize(
    "requested",
    ["HTTPS://app.example/cb", "https://APP.example/cb", "https://app.example/CB", "https://app.example/%63b"],
)
def test_redirect_uris_that_differ_in_case_or_encoding_do_not_match(requested: str) -> None:
    assert not redirect_uri_matches(requested, ("https://app.example/cb",), native=True)


@given(st.text("/?#@:;.%\\ab0", max_size=12), st.text("/?#@:;.%\\ab0", max_size=12))
def test_a_loopback_uri_can_differ_in_its_port_only(before: str, after: str) -> None:
    requested = f"http://127.0.0.1{before}/cb{after}"
    if redirect_uri_matches(requested, ("http://127.0.0.1/cb",), native=True):
        assert after == ""
        assert before == "" or (before[0] == ":" and before[1:].isdecimal())


@pytest.mark.parametrize("uri", ["https://api.example", "https://api.example/v1?x=y", "http://127.0.0.1:8000"])
def test_an_absolute_http_url_can_be_a_resource(uri: str) -> None:
    assert resource_uri_problem(uri) is None


@pytest.mark.parametrize("uri", ["", "api", "/api", "urn:x", "https://", "https://api.example#a", "https://a@b/", "\0"])
def test_other_text_cannot_be_a_resource(uri: str) -> None:
    assert resource_uri_problem(uri)


@pytest.mark.parametrize("port", ["8\u0661", "\uff18", "\u0968"])
def test_a_port_in_non_ascii_digits_is_rejected(port: str) -> None:
    assert not redirect_uri_matches(f"http://127.0.0.1:{port}/cb", ("http://127.0.0.1/cb",), native=True)


def test_a_registered_redirect_uri_is_not_rewritten_in_the_response() -> None:
    response = AuthorizationResponse("com.example.App:///cb", "query", {"code": "1"})
    assert response.location() == "com.example.App:///cb?code=1"
