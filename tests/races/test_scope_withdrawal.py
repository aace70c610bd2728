"""No token keeps a scope that is withdrawn while two servers refresh tokens and issue codes without a prompt."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.races.service import Service
from tests.support.concurrent_requests import get_request, post_request, send_together
from tests.support.database import fetch_rows
from tests.support.form import parse_forms
from tests.support.user import CALLBACK
from tests.support.web_app import WebApp, code_from_redirect, parse_token_response

BOTH = "email profile"


@pytest.mark.parametrize("attempt", range(2))
def test_no_refresh_and_no_silent_code_keeps_a_scope_that_is_being_withdrawn(service: Service, attempt: int) -> None:
    maya, web_app = service.maya, WebApp.register(service.deployment, BOTH)
    tokens = [web_app.obtain_tokens(maya, BOTH) for _ in range(4)]
    page = maya.get_page(web_app.authorization_url(BOTH, prompt="consent"))
    [form] = [form for form in parse_forms(page.text) if "allow" in form.buttons]
    fields = [field for field in form.fill_in({}, "allow") if field != ("scope", "profile")]
    assert ("scope", "email") in fields
    cookie = "; ".join(f"{name}={value}" for name, value in maya.cookies.items())
    silent = urlsplit(web_app.authorization_url(BOTH))
    withdrawal = post_request(service.ports[0], page.url.path, fields, cookie=cookie)
    refreshes = [
        web_app.refresh_request(service.ports[number % 2], tokens[number % 4]["refresh_token"]) for number in range(16)
    ]
    authorizations = [
        get_request(service.ports[number % 2], f"{silent.path}?{silent.query}", cookie=cookie) for number in range(16)
    ]

    decided, *others = send_together([withdrawal, *refreshes, *authorizations])
    time.sleep(1)

    assert (decided.status, decided.headers["location"].startswith(CALLBACK)) == (303, True)
    assert {response.status for response in others} <= {200, 303}, others
    refreshed = [parse_token_response(response) for response in others if response.status == 200]
    assert refreshed
    locations = [response.headers["location"] for response in others if response.status == 303]
    codes = [code_from_redirect(location) for location in locations if location.startswith(CALLBACK)]
    redeemed = send_together([web_app.redemption_request(service.ports[0], code) for code in codes])
    redemptions = [parse_token_response(response) for response in redeemed]
    assert all(redemption["scope"] == "email" for redemption in redemptions), redemptions
    newest = {token["refresh_token"] for token in refreshed}
    successors = send_together([web_app.refresh_request(service.ports[1], token) for token in newest])
    assert {parse_token_response(response)["scope"] for response in successors} == {"email"}
    for access_token in {token["access_token"] for token in (*tokens, *refreshed)}:
        for port in service.ports:
            headers = {"Authorization": f"Bearer {access_token}"}
            assert httpx.get(f"http://127.0.0.1:{port}/api/protected", headers=headers).status_code in {401, 403}
    query = f"SELECT scope FROM valetkey_grants WHERE client_id = '{web_app.client_id}' AND revoked_at IS NULL"
    assert {scope for (scope,) in fetch_rows(service.database_url, query)} == {"email"}
