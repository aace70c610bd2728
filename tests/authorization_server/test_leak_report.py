"""Leak reports: a reported credential is revoked, and the response reveals nothing about it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp, Register
from tests.support.browser_client import EMAIL, Browser
from tests.support.clock import Clock
from tests.support.personal_tokens import create_token, value_of
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import add_secret
from valetkey.protocol.secret import CLIENT_SECRET, PERSONAL_ACCESS_TOKEN, REFRESH_TOKEN, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, outbox

UNKNOWN_VALUES = [
    "x",
    "vk_pat_",
    "eyJhbGciOiJub25lIn0.e30.",
    "é",
    "x" * 9000,
    *(generate_secret(kind).reveal() for kind in (PERSONAL_ACCESS_TOKEN, REFRESH_TOKEN, CLIENT_SECRET)),
]


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    """A server with mail configured; its worker does not run, so mails stay queued."""
    return make_app(store_url, mail_url="smtp://localhost:1", operator_mail="ops@example.org")


@pytest.fixture
def reporter(app: Flask) -> Browser:
    """A browser without a client and without a sign-in."""
    return Browser(app.test_client(), None)  # type: ignore[arg-type]  # it never acts as a client


def report_leak(reporter: Browser, *tokens: str) -> TestResponse:
    return reporter.http.post(
        "/oauth/report-leak", json=[{"token": token, "type": "x", "url": "https://a/"} for token in tokens]
    )


def list_queued_jobs(runtime: Runtime) -> list[outbox.Job]:
    return [job for jobs in outbox.list_due(runtime.store, runtime.clock()).values() for job in jobs]


def check_uniform_response(response: TestResponse) -> None:
    """Check the response, which is the same whether or not the value was active."""
    assert (response.status_code, response.json) == (202, {})
    assert response.headers["Cache-Control"] == "no-store"


def test_a_reported_personal_token_is_revoked_and_its_owner_gets_mail(
    ada: Browser, app: Flask, reporter: Browser, runtime: Runtime
) -> None:
    token = value_of(create_token(app))
    jobs_before = list_queued_jobs(runtime)
    assert ada.call(token).status_code == 200

    check_uniform_response(report_leak(reporter, token))

    assert ada.call(token).status_code == 401
    (mail,) = (job for job in list_queued_jobs(runtime) if job not in jobs_before)
    assert mail.parse_payload()["owner"] == "ada"
    assert "was found in a public place" in mail.parse_payload()["text"]
    assert token not in str(mail.parse_payload())
    with assert_store_unchanged(runtime):
        check_uniform_response(report_leak(reporter, token))
    assert len(list_queued_jobs(runtime)) == len(jobs_before) + 1


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_reported_token_revokes_its_whole_grant(ada: Browser, reporter: Browser, runtime: Runtime, kind: str) -> None:
    tokens = ada.obtain_tokens()

    check_uniform_response(report_leak(reporter, tokens[kind]))

    assert ada.call(tokens["access_token"]).status_code == 401
    assert ada.refresh(tokens["refresh_token"]).status_code == 400
    assert [
        job.parse_payload()["owner"] for job in list_queued_jobs(runtime) if "leaked" in job.parse_payload()["subject"]
    ] == ["ada"]


def test_a_reported_machine_token_is_revoked_alone(reporter: Browser, app: Flask, register: Register) -> None:
    machine = Browser(app.test_client(), register("machine", name="Robot"))
    token, other = (machine.request_token("client_credentials", scope="profile").json["access_token"] for _ in range(2))

    check_uniform_response(report_leak(reporter, token))

    assert (machine.call(token).status_code, machine.call(other).status_code) == (401, 200)


def test_a_reported_client_secret_is_refused_at_once(
    ada: Browser, reporter: Browser, runtime: Runtime, clock: Clock
) -> None:
    tokens = ada.obtain_tokens()
    assert ada.client.secret

    check_uniform_response(report_leak(reporter, ada.client.secret.reveal()))

    assert ada.refresh(tokens["refresh_token"]).status_code == 401
    assert ada.call(tokens["access_token"]).status_code == 200, "the secret alone gives access to no user's data"
    mails = [
        job.parse_payload()
        for job in list_queued_jobs(runtime)
        if job.kind == "mail" and "secret" in job.parse_payload()["subject"]
    ]
    assert [mail["to"] for mail in mails] == ["ops@example.org"]
    client = clients.find(runtime.store, ada.client.client_id, clock())
    assert client
    ada.client = type(ada.client)(
        client.client_id, add_secret(runtime.store, client, runtime.clock(), old_secret_ttl_s=0)
    )
    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_a_reported_secret_of_a_machine_revokes_its_tokens(reporter: Browser, app: Flask, register: Register) -> None:
    contact = {"contacts": ["dev@example.org", "+41 1"]}
    machine = Browser(app.test_client(), register("machine", name="Robot", members=contact))
    token = machine.request_token("client_credentials", scope="profile").json["access_token"]
    assert machine.client.secret

    check_uniform_response(report_leak(reporter, machine.client.secret.reveal()))

    assert machine.call(token).status_code == 401
    assert machine.request_token("client_credentials").status_code == 401
    addresses = [job.parse_payload()["to"] for job in list_queued_jobs(app.extensions["valetkey"])]
    assert sorted(addresses) == ["dev@example.org", "ops@example.org"]


def test_the_response_does_not_reveal_whether_a_value_was_active(reporter: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        for value in UNKNOWN_VALUES:
            check_uniform_response(report_leak(reporter, value))
    assert list_queued_jobs(runtime) == []


def test_a_report_may_be_a_form_or_json(ada: Browser, app: Flask, reporter: Browser) -> None:
    forms: list[dict[str, Any]] = [
        {"data": {"token": "{}"}},
        {"json": {"token": "{}"}},
        {"json": ["{}"]},
        {"json": [{"token": "x"}, {"token": "{}"}]},
    ]
    for options in forms:
        token = value_of(create_token(app))

        check_uniform_response(reporter.http.post("/oauth/report-leak", **insert_token(options, token)))

        assert ada.call(token).status_code == 401


def insert_token(template: Any, token: str) -> Any:
    if isinstance(template, dict):
        return {name: insert_token(member, token) for name, member in template.items()}
    if isinstance(template, list):
        return [insert_token(member, token) for member in template]
    return token if template == "{}" else template


@pytest.mark.parametrize(
    "options",
    [
        {"data": {}},
        {"data": {"value": "x"}},
        {"json": {}},
        {"json": []},
        {"json": [1]},
        {"json": [{"token": 1}]},
        {"json": "x" * 70_000},
        {"json": [{"token": f"x{number}"} for number in range(51)]},
        {"data": b"{", "content_type": "application/json"},
        {"data": b"\xff", "content_type": "application/json"},
        {"data": b"token=x", "content_type": "text/plain"},
    ],
)
def test_a_malformed_report_is_refused(reporter: Browser, runtime: Runtime, options: dict[str, Any]) -> None:
    with assert_store_unchanged(runtime):
        refused = reporter.http.post("/oauth/report-leak", **options)

    assert refused.status_code in {400, 413}
    assert refused.json["error"] == "invalid_request"


def test_reports_are_limited_by_network(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    http = make_app(store_url, leak_report_limit="10/minute burst 10").test_client()

    def send_report(number: int) -> TestResponse:
        return http.post("/oauth/report-leak", json=[f"x{index}" for index in range(number)])

    assert send_report(8).status_code == 202
    refused = send_report(3)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    clock.forward(60)
    assert send_report(3).status_code == 202


def test_the_leak_report_endpoint_is_not_in_the_metadata(reporter: Browser) -> None:
    """RFC 8414 has no member for it."""
    assert "report-leak" not in reporter.get("/.well-known/oauth-authorization-server").text


def test_the_owners_email_address_is_not_queued(ada: Browser, app: Flask, reporter: Browser, runtime: Runtime) -> None:
    report_leak(reporter, value_of(create_token(app)))

    assert all(EMAIL not in str(job.parse_payload()) for job in list_queued_jobs(runtime))
