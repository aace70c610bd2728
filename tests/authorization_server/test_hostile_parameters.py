"""Malformed requests to the machine endpoints (RFC 6749 §3.2): they are refused, and nothing is stored."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import Browser
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged
from valetkey.runtime import Runtime

FORM = "application/x-www-form-urlencoded"
POST_ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")


@pytest.fixture
def machine(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_post_endpoints_accept_only_post(machine: Browser, runtime: Runtime, method: str) -> None:
    with assert_store_unchanged(runtime):
        responses = [machine.http.open(endpoint, method=method, auth=machine.auth) for endpoint in POST_ENDPOINTS]

    assert [(refused.status_code, refused.headers["Allow"]) for refused in responses] == [(405, "POST")] * 3


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"grant_type": "client_credentials", "token": "x"}', "application/json"),
        ("grant_type=client_credentials&token=x", "text/plain"),
        ("grant_type=client_credentials&token=x", ""),
        ("--b\r\n", "multipart/form-data; boundary=b"),
    ],
    ids=["JSON", "text", "no type", "multipart"],
)
def test_a_body_of_another_type_is_refused(machine: Browser, runtime: Runtime, body: str, content_type: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = machine.http.post(endpoint, data=body, content_type=content_type, auth=machine.auth)
            check_refusal(refused, "invalid_request")


MALFORMED_FORMS = {
    "sent twice": b"grant_type=client_credentials&token=x&grant_type=client_credentials&token=y",
    "unknown parameter twice": b"grant_type=client_credentials&token=x&what=1&what=2",
    "NUL": b"grant_type=client_credentials&token=x&scope=%00",
    "raw NUL": b"grant_type=client_credentials&token=x&scope=\0",
    "NUL in a name": b"grant_type=client_credentials&token=x&%00=1",
    "not UTF-8": b"grant_type=client_credentials&token=x&scope=%ff",
    "raw bytes": b"grant_type=client_credentials&token=x&scope=\xff\xfe",
    "too many": b"grant_type=client_credentials&token=x&" + b"&".join(b"a%d=1" % n for n in range(100)),
    "empty body": b"",
    "only separators": b"&&&===&&&",
    "empty values": b"grant_type=&token=",
}


@pytest.mark.parametrize("case", MALFORMED_FORMS)
def test_a_malformed_form_is_refused(machine: Browser, runtime: Runtime, case: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = machine.http.post(endpoint, data=MALFORMED_FORMS[case], content_type=FORM, auth=machine.auth)
            check_refusal(refused, "invalid_request")


@pytest.mark.parametrize("size", [65_537, 1_000_000])
def test_an_oversized_body_is_refused(machine: Browser, runtime: Runtime, size: int) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = machine.http.post(endpoint, data=b"a" * size, content_type=FORM, auth=machine.auth)
            check_refusal(refused, "invalid_request", 413)


def test_a_body_below_64_kib_is_accepted(machine: Browser) -> None:
    padding = "x=" + "a" * 60_000

    response = machine.http.post(
        "/oauth/token", data=f"grant_type=client_credentials&{padding}", content_type=FORM, auth=machine.auth
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"grant_type": "password", "username": "ada", "password": "x"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:saml2-bearer"}, "unsupported_grant_type"),
        ({"grant_type": "__class__"}, "unsupported_grant_type"),
        ({"grant_type": "x" * 10_000}, "unsupported_grant_type"),
        ({"scope": "profile"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "unauthorized_client"),
        ({"grant_type": "client_credentials", "scope": "root"}, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": 'a"b'}, "invalid_scope"),
        ({"grant_type": "client_credentials", "resource": "https://other.example"}, "invalid_target"),
        ({"grant_type": "client_credentials", "resource": "not a uri"}, "invalid_target"),
    ],
)
def test_each_invalid_token_request_gets_its_error_code(
    machine: Browser, runtime: Runtime, parameters: dict[str, str], error: str
) -> None:
    with assert_store_unchanged(runtime):
        check_refusal(machine.post("/oauth/token", **parameters), error)


UNKNOWN_TOKENS = ("x", "vk_rt_" + "a" * 50, "a.b.c", "ü.ü.ü", "." * 9000, "x" * 60_000, "null", "eyJ.eyJ.")


def test_unknown_tokens_are_revoked_with_200_and_introspected_as_inactive(machine: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        revoked = [machine.revoke(token).status_code for token in UNKNOWN_TOKENS]
        introspected = [machine.introspect(token).json for token in UNKNOWN_TOKENS]

    assert revoked == [200] * len(UNKNOWN_TOKENS)  # RFC 7009 §2.2
    assert introspected == [{"active": False}] * len(UNKNOWN_TOKENS)  # RFC 7662 §2.2


@pytest.mark.parametrize("endpoint", ["/oauth/token", "/oauth/revoke", "/oauth/jwks"])
def test_scripts_of_any_origin_may_call_the_endpoint(machine: Browser, endpoint: str) -> None:
    preflight = machine.http.options(endpoint, headers={"Origin": "https://spa.example"})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    refused = machine.http.post(endpoint, data={}, headers={"Origin": "https://spa.example"})
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_the_reference_of_a_refusal_is_in_the_log(machine: Browser, caplog: pytest.LogCaptureFixture) -> None:
    refused = machine.request_token("nonsense")

    assert refused.headers["Valetkey-Reference"] in caplog.text


def test_a_secret_in_the_wrong_parameter_is_not_logged(machine: Browser, caplog: pytest.LogCaptureFixture) -> None:
    token = machine.request_token("client_credentials").json["access_token"]

    for secret in (token, machine.client.secret.reveal()):
        check_refusal(machine.request_token("client_credentials", scope=secret), "invalid_scope")
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "value",
    ["%00", "a%00b", "%ED%A0%80", "%FF", "a" * 100_000],
    ids=["NUL", "NUL inside", "surrogate", "not UTF-8", "long"],
)
def test_no_page_fails_for_a_path_that_a_database_cannot_store(ada: Browser, value: str) -> None:
    paths = (
        *("/oauth/consent/{}", "/account/mail/{}", "/account/sign-in/{}/callback", "/device/{}"),
        *("/.well-known/oauth-protected-resource/{}", "/account/tokens/{}", "/oauth/pages/{}"),
    )

    statuses = {ada.http.get(path.format(value)).status_code for path in paths}

    assert statuses == {400, 404}


@pytest.mark.parametrize(
    ("query", "form"),
    [
        ("", {"email": "a\0b@example.org"}),
        ("?email=x", {"email": "a\0b@example.org"}),
        ("", {"email": ["ada@example.org", "\0"]}),
        ("?next=%00", {}),
        ("?next=/&next=%00", {}),
        ("?%00=x", {}),
        ("", {"\0": "x"}),
    ],
    ids=["form", "form behind a query", "second value", "query", "second in the query", "name in the query", "name"],
)
def test_no_form_has_a_character_that_a_database_cannot_store(
    app: Flask, runtime: Runtime, query: str, form: dict[str, str | list[str]]
) -> None:
    http = app.test_client()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', http.get("/account/sign-in").text)
    assert token is not None
    fields = {"csrf_token": token[1], "email": "ada@example.org", "password": "of somebody", **form}

    with assert_store_unchanged(runtime):
        refused = http.post(f"/account/sign-in{query}", data=fields)

    assert refused.status_code == 400 and "invalid character" in refused.text
