"""Whoever shows a leaked secret ends it, and learns nothing by it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.authorization_server.test_personal_tokens import make, value
from tests.conftest import MakeApp, Register
from tests.support.browser_client import EMAIL, Browser, Clock, assert_store_unchanged
from valetkey.authorization_server.clients.service import add_secret
from valetkey.protocol.secret import CLIENT_SECRET, PERSONAL_ACCESS_TOKEN, REFRESH_TOKEN, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, outbox

NOTHING = ["x", "vk_pat_", "eyJhbGciOiJub25lIn0.e30.", "é", "x" * 9000, *(
    generate_secret(kind).reveal() for kind in (PERSONAL_ACCESS_TOKEN, REFRESH_TOKEN, CLIENT_SECRET)
)]  # fmt: skip


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    """A server that sends mail, or would if its worker ran."""
    return make_app(store_url, mail_url="smtp://localhost:1", operator_mail="ops@example.org")


@pytest.fixture
def anybody(app: Flask) -> Browser:
    """Somebody from the street."""
    return Browser(app.test_client(), None)  # type: ignore[arg-type]


def report(anybody: Browser, *tokens: str) -> TestResponse:
    return anybody.http.post(
        "/oauth/report-leak", json=[{"token": one, "type": "x", "url": "https://a/"} for one in tokens]
    )


def queued(runtime: Runtime) -> list[outbox.Job]:
    return outbox.list_due(runtime.store, runtime.clock())


def check_same(answer: TestResponse) -> None:
    """Nobody learns whether the value was alive."""
    assert (answer.status_code, answer.json) == (202, {})
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_personal_token_is_revoked_and_its_owner_told(
    ada: Browser, app: Flask, anybody: Browser, runtime: Runtime
) -> None:
    token = value(make(app))
    outbox_before = len(queued(runtime))
    assert ada.call(token).status_code == 200

    check_same(report(anybody, token))

    assert ada.call(token).status_code == 401
    (mail,) = queued(runtime)[outbox_before:]
    assert mail.payload["owner"] == "ada"
    assert "was found where others can read it" in mail.payload["text"]
    assert token not in str(mail.payload)
    with assert_store_unchanged(runtime):
        check_same(report(anybody, token))
    assert len(queued(runtime)) == outbox_before + 1


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_with_a_token_of_an_app_all_ends_that_it_was_given(
    ada: Browser, anybody: Browser, runtime: Runtime, kind: str
) -> None:
    answer = ada.obtain_tokens()

    check_same(report(anybody, answer[kind]))

    assert ada.call(answer["access_token"]).status_code == 401
    assert ada.refresh(answer["refresh_token"]).status_code == 400
    assert [job.payload["owner"] for job in queued(runtime) if "leaked" in job.payload["subject"]] == ["ada"]


def test_a_machines_token_is_revoked(anybody: Browser, app: Flask, register: Register) -> None:
    robot = Browser(app.test_client(), register("machine", name="Robot"))
    token, other = (robot.request_token("client_credentials", scope="profile").json["access_token"] for _ in range(2))

    check_same(report(anybody, token))

    assert (robot.call(token).status_code, robot.call(other).status_code) == (401, 200)


def test_a_client_secret_is_worth_nothing_at_once(
    ada: Browser, anybody: Browser, runtime: Runtime, clock: Clock
) -> None:
    tokens = ada.obtain_tokens()
    assert ada.client.secret

    check_same(report(anybody, ada.client.secret.reveal()))

    assert ada.refresh(tokens["refresh_token"]).status_code == 401
    assert ada.call(tokens["access_token"]).status_code == 200, "the secret alone opened nothing"
    mails = [job.payload for job in queued(runtime) if job.kind == "mail" and "secret" in job.payload["subject"]]
    assert [mail["to"] for mail in mails] == ["ops@example.org"]
    client = clients.find(runtime.store, ada.client.client_id, clock())
    assert client
    ada.client = type(ada.client)(client.client_id, add_secret(runtime, client, old_secret_ttl_s=0))
    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_a_machines_secret_takes_its_tokens_along(anybody: Browser, app: Flask, register: Register) -> None:
    contact = {"contacts": ["dev@example.org", "+41 1"]}
    robot = Browser(app.test_client(), register("machine", name="Robot", members=contact))
    token = robot.request_token("client_credentials", scope="profile").json["access_token"]
    assert robot.client.secret

    check_same(report(anybody, robot.client.secret.reveal()))

    assert robot.call(token).status_code == 401
    assert robot.request_token("client_credentials").status_code == 401
    told = [job.payload["to"] for job in queued(app.extensions["valetkey"])]
    assert told == ["ops@example.org", "dev@example.org"]


def test_nobody_is_told_what_was_alive(anybody: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        for nothing in NOTHING:
            check_same(report(anybody, nothing))
    assert queued(runtime) == []


def test_reports_come_in_several_forms(ada: Browser, app: Flask, anybody: Browser) -> None:
    reports: list[dict[str, Any]] = [
        {"data": {"token": "{}"}},
        {"json": {"token": "{}"}},
        {"json": ["{}"]},
        {"json": [{"token": "x"}, {"token": "{}"}]},
    ]
    for sent in reports:
        token = value(make(app))

        check_same(anybody.http.post("/oauth/report-leak", **_filled(sent, token)))

        assert ada.call(token).status_code == 401


def _filled(told: Any, token: str) -> Any:
    if isinstance(told, dict):
        return {name: _filled(one, token) for name, one in told.items()}
    if isinstance(told, list):
        return [_filled(one, token) for one in told]
    return token if told == "{}" else told


@pytest.mark.parametrize(
    "sent",
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
def test_what_is_no_report_is_told_so(anybody: Browser, runtime: Runtime, sent: dict[str, Any]) -> None:
    with assert_store_unchanged(runtime):
        refused = anybody.http.post("/oauth/report-leak", **sent)

    assert refused.status_code in {400, 413}
    assert refused.json["error"] == "invalid_request"


def test_one_network_cannot_try_without_end(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    http = make_app(store_url, leak_report_limit="10/minute burst 10").test_client()

    def sent(number: int) -> TestResponse:
        return http.post("/oauth/report-leak", json=[f"x{one}" for one in range(number)])

    assert sent(8).status_code == 202
    refused = sent(3)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    clock.forward(60)
    assert sent(3).status_code == 202


def test_it_is_not_in_the_servers_metadata(anybody: Browser) -> None:
    """RFC 8414 has no name for it."""
    assert "report-leak" not in anybody.get("/.well-known/oauth-authorization-server").text


def test_the_owners_address_stays_with_the_accounts(
    ada: Browser, app: Flask, anybody: Browser, runtime: Runtime
) -> None:
    report(anybody, value(make(app)))

    assert all(EMAIL not in str(job.payload) for job in queued(runtime))
