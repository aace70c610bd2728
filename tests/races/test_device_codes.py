"""A device code is redeemed once and decided once, and its interval grows for all processes (RFC 8628 §3.5).

The test of redemptions failed once, on purpose, with an ``UPDATE`` without its condition ``consumed_at IS NULL``: 4 of
the 100 redemptions got tokens on SQLite, 11 on PostgreSQL.
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


def authorize_device(service: Service) -> tuple[str, dict[str, Any]]:
    """Register a native client and send a device authorization request. Return the ``client_id`` and the response."""
    client = service.deployment.create_client("native", name="TV", redirect_uris=["http://127.0.0.1/back"])
    [response] = send_together([post_request(service.ports[0], "/oauth/device", [("client_id", client["client_id"])])])
    assert response.status == httpx.codes.OK, response
    return client["client_id"], parse_json(response)


def parse_json(response: RawResponse) -> dict[str, Any]:
    return dict(json.loads(response.body))


def token_request(port: int, client_id: str, device_code: str) -> RawRequest:
    fields = [("grant_type", GRANT_TYPE), ("client_id", client_id), ("device_code", device_code)]
    return post_request(port, "/oauth/token", fields)


def open_consent_page(service: Service, codes: dict[str, Any]) -> httpx.Response:
    """Let Maya confirm the user code. Return the consent page."""
    service.web_app.obtain_code(service.maya)  # signs her in
    page = service.maya.get_page(codes["verification_uri_complete"])
    return service.maya.press(page, "continue")


def test_of_100_simultaneous_redemptions_one_succeeds_and_the_others_revoke_its_tokens(service: Service) -> None:
    client_id, codes = authorize_device(service)
    service.maya.press(open_consent_page(service, codes), "allow")
    responses = send_together(
        [token_request(service.ports[n % 2], client_id, codes["device_code"]) for n in range(100)]
    )
    assert Counter(response.status for response in responses) == {200: 1, 400: 99}
    assert {parse_json(response)["error"] for response in responses if response.status == 400} == {"invalid_grant"}
    [tokens] = [parse_json(response) for response in responses if response.status == 200]
    fields = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", tokens["refresh_token"])]
    for port in service.ports:
        [refused] = send_together([post_request(port, "/oauth/token", fields)])
        assert (refused.status, parse_json(refused)["error"]) == (400, "invalid_grant")


def test_of_50_simultaneous_decisions_one_takes_effect(service: Service) -> None:
    client_id, codes = authorize_device(service)
    page = open_consent_page(service, codes)
    [form] = [form for form in parse_forms(page.text) if "allow" in form.buttons]
    cookie = "; ".join(f"{name}={value}" for name, value in service.maya.cookies.items())
    decisions = [form.fill_in({}, "allow"), form.fill_in({}, "deny")]
    path = page.url.path
    responses = send_together(
        [post_request(service.ports[n % 2], path, decisions[n // 2 % 2], cookie=cookie) for n in range(50)]
    )
    assert Counter(response.status for response in responses) == {200: 50}
    query = f"SELECT grant_id FROM valetkey_grants WHERE client_id = '{client_id}'"
    is_allowed = len(fetch_rows(service.database_url, query)) == 1
    sentences = ("has access to your account", "is connected") if is_allowed else ("has no access", "You denied access")
    pages = [response.body.decode() for response in responses]
    assert all(any(sentence in page for sentence in sentences) for page in pages)
    [token_response] = send_together([token_request(service.ports[1], client_id, codes["device_code"])])
    assert token_response.status == (200 if is_allowed else 400)


def test_of_20_simultaneous_polls_all_but_one_add_five_seconds_to_the_interval(service: Service) -> None:
    client_id, codes = authorize_device(service)
    responses = send_together([token_request(service.ports[n % 2], client_id, codes["device_code"]) for n in range(20)])
    errors = Counter(parse_json(response)["error"] for response in responses)
    assert errors == {"authorization_pending": 1, "slow_down": 19}
    query = f"SELECT interval FROM valetkey_device_codes WHERE client_id = '{client_id}'"
    [[interval_s]] = fetch_rows(service.database_url, query)
    assert interval_s == 5 + 19 * 5
