"""What comes to the machine endpoints and is no proper form (RFC 6749 §3.2): refused, and nothing is kept."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import Register
from tests.support.browser_client import Browser, assert_store_unchanged
from valetkey.runtime import Runtime

FORM = "application/x-www-form-urlencoded"
POST_ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")


@pytest.fixture
def robot(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_post_endpoints_answer_post_only(robot: Browser, runtime: Runtime, method: str) -> None:
    with assert_store_unchanged(runtime):
        answers = [robot.http.open(endpoint, method=method, auth=robot.auth) for endpoint in POST_ENDPOINTS]

    assert [(refused.status_code, refused.headers["Allow"]) for refused in answers] == [(405, "POST")] * 3


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
def test_a_body_of_another_type_is_refused(robot: Browser, runtime: Runtime, body: str, content_type: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = robot.http.post(endpoint, data=body, content_type=content_type, auth=robot.auth)
            check_refusal(refused, "invalid_request")


HOSTILE = {
    "sent twice": b"grant_type=client_credentials&token=x&grant_type=client_credentials&token=y",
    "unknown one twice": b"grant_type=client_credentials&token=x&what=1&what=2",
    "NUL": b"grant_type=client_credentials&token=x&scope=%00",
    "raw NUL": b"grant_type=client_credentials&token=x&scope=\0",
    "NUL in a name": b"grant_type=client_credentials&token=x&%00=1",
    "not UTF-8": b"grant_type=client_credentials&token=x&scope=%ff",
    "raw bytes": b"grant_type=client_credentials&token=x&scope=\xff\xfe",
    "too many": b"grant_type=client_credentials&token=x&" + b"&".join(b"a%d=1" % n for n in range(100)),
    "nothing": b"",
    "separators": b"&&&===&&&",
    "everything empty": b"grant_type=&token=",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_form_is_refused(robot: Browser, runtime: Runtime, case: str) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = robot.http.post(endpoint, data=HOSTILE[case], content_type=FORM, auth=robot.auth)
            check_refusal(refused, "invalid_request")


@pytest.mark.parametrize("size", [65_537, 1_000_000])
def test_an_oversized_body_is_refused(robot: Browser, runtime: Runtime, size: int) -> None:
    with assert_store_unchanged(runtime):
        for endpoint in POST_ENDPOINTS:
            refused = robot.http.post(endpoint, data=b"a" * size, content_type=FORM, auth=robot.auth)
            check_refusal(refused, "invalid_request", 413)


def test_a_body_of_64_kib_is_read(robot: Browser) -> None:
    padding = "x=" + "a" * 60_000

    sent = robot.http.post(
        "/oauth/token", data=f"grant_type=client_credentials&{padding}", content_type=FORM, auth=robot.auth
    )

    assert sent.status_code == 200


@pytest.mark.parametrize(
    ("sent", "error"),
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
def test_each_refusal_has_its_code(robot: Browser, runtime: Runtime, sent: dict[str, str], error: str) -> None:
    with assert_store_unchanged(runtime):
        check_refusal(robot.post("/oauth/token", **sent), error)


NO_TOKENS = ("x", "vk_rt_" + "a" * 50, "a.b.c", "ü.ü.ü", "." * 9000, "x" * 60_000, "null", "eyJ.eyJ.")


def test_what_is_no_token_is_revoked_and_introspected_without_a_word(robot: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        revoked = [robot.revoke(token).status_code for token in NO_TOKENS]
        introspected = [robot.introspect(token).json for token in NO_TOKENS]

    assert revoked == [200] * len(NO_TOKENS)  # RFC 7009 §2.2
    assert introspected == [{"active": False}] * len(NO_TOKENS)  # RFC 7662 §2.2


@pytest.mark.parametrize("endpoint", ["/oauth/token", "/oauth/revoke", "/oauth/jwks"])
def test_scripts_of_any_origin_may_ask(robot: Browser, endpoint: str) -> None:
    asked = robot.http.options(endpoint, headers={"Origin": "https://spa.example"})

    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in asked.headers
    refused = robot.http.post(endpoint, data={}, headers={"Origin": "https://spa.example"})
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_every_refusal_has_a_reference_that_the_log_knows(robot: Browser, caplog: pytest.LogCaptureFixture) -> None:
    refused = robot.request_token("nonsense")

    assert refused.headers["Valetkey-Reference"] in caplog.text


def test_a_secret_in_the_wrong_parameter_is_not_logged(robot: Browser, caplog: pytest.LogCaptureFixture) -> None:
    token = robot.request_token("client_credentials").json["access_token"]

    for secret in (token, robot.client.secret.reveal()):
        check_refusal(robot.request_token("client_credentials", scope=secret), "invalid_scope")
        assert secret not in caplog.text
