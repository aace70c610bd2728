"""A device code is redeemed once, answered once, and its interval grows for all processes (RFC 8628 §3.5).

Shown once to fail where the claim is an ``UPDATE`` without its condition ``consumed_at IS NULL``: 4 of the
100 redemptions got tokens on SQLite, 11 on PostgreSQL.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx

from tests.races.service import Service
from tests.support.concurrent_requests import RawRequest, RawResponse, post_request, send_together
from tests.support.database import fetch_rows
from tests.support.form import parse_forms

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


def new_device(service: Service) -> tuple[str, dict[str, Any]]:
    """A native app's ``client_id``, and its codes."""
    made = service.deployment.create_client("native", name="TV", redirect_uris=["http://127.0.0.1/back"])
    [answer] = send_together([post_request(service.ports[0], "/oauth/device", [("client_id", made["client_id"])])])
    assert answer.status == httpx.codes.OK, answer
    return made["client_id"], told(answer)


def told(answer: RawResponse) -> dict[str, Any]:
    return dict(json.loads(answer.body))


def poll(port: int, client_id: str, device_code: str) -> RawRequest:
    fields = [("grant_type", GRANT_TYPE), ("client_id", client_id), ("device_code", device_code)]
    return post_request(port, "/oauth/token", fields)


def consent_page(service: Service, codes: dict[str, Any]) -> httpx.Response:
    """What Maya is asked when she has confirmed the code."""
    service.web_app.obtain_code(service.maya)  # she is signed in now
    page = service.maya.get_page(codes["verification_uri_complete"])
    return service.maya.press(page, "continue")


def test_of_100_simultaneous_redemptions_one_wins_and_the_losers_revoke_what_it_got(service: Service) -> None:
    client_id, codes = new_device(service)
    service.maya.press(consent_page(service, codes), "allow")
    answers = send_together([poll(service.ports[number % 2], client_id, codes["device_code"]) for number in range(100)])
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 99}
    assert {told(answer)["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    [tokens] = [told(answer) for answer in answers if answer.status == 200]
    sent = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", tokens["refresh_token"])]
    for port in service.ports:
        [refused] = send_together([post_request(port, "/oauth/token", sent)])
        assert (refused.status, told(refused)["error"]) == (400, "invalid_grant")


def test_of_50_answers_at_once_one_counts(service: Service) -> None:
    client_id, codes = new_device(service)
    page = consent_page(service, codes)
    [form] = [form for form in parse_forms(page.text) if "allow" in form.buttons]
    cookie = "; ".join(f"{name}={value}" for name, value in service.maya.cookies.items())
    both = [form.fill_in({}, "allow"), form.fill_in({}, "deny")]
    path = page.url.path
    answers = send_together(
        [post_request(service.ports[n % 2], path, both[n // 2 % 2], cookie=cookie) for n in range(50)]
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 49}
    [said] = [answer for answer in answers if answer.status == 200]
    allowed = b"is connected" in said.body
    grants = f"SELECT grant_id FROM valetkey_grants WHERE client_id = '{client_id}'"
    assert len(fetch_rows(service.database_url, grants)) == int(allowed)
    [polled] = send_together([poll(service.ports[1], client_id, codes["device_code"])])
    assert polled.status == (200 if allowed else 400)


def test_of_20_polls_at_once_one_was_in_time_and_each_other_adds_five_seconds(service: Service) -> None:
    client_id, codes = new_device(service)
    answers = send_together([poll(service.ports[number % 2], client_id, codes["device_code"]) for number in range(20)])
    assert Counter(told(answer)["error"] for answer in answers) == {"authorization_pending": 1, "slow_down": 19}
    interval = f"SELECT interval FROM valetkey_device_codes WHERE client_id = '{client_id}'"
    [[seconds]] = fetch_rows(service.database_url, interval)
    assert seconds == 5 + 19 * 5
