"""Clients in browsers: sign-in in a popup, preflights with other headers, responses without content."""

from __future__ import annotations

import pytest

from tests.support.browser_client import Browser


def test_pages_of_the_authorization_flow_let_the_app_keep_its_popup(ada: Browser) -> None:
    redirect = ada.authorize()
    page = ada.get(redirect.location)

    assert "/consent/" in redirect.location
    assert page.status_code == 200
    assert "Cross-Origin-Opener-Policy" not in redirect.headers
    assert "Cross-Origin-Opener-Policy" not in page.headers
    assert "Cross-Origin-Opener-Policy" not in ada.approve(redirect.location).headers


@pytest.mark.parametrize("path", ["/account", "/account/tokens", "/account/tokens/new"])
def test_account_pages_are_isolated_from_the_site_that_opened_them(ada: Browser, path: str) -> None:
    page = ada.get(path)

    assert page.status_code == 200
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/userinfo", "/oauth/jwks", "/oauth/revoke"])
def test_a_preflight_allows_every_header_that_a_script_sends(ada: Browser, path: str) -> None:
    headers = {"Origin": "https://app.example", "Access-Control-Request-Headers": "traceparent, x-requested-with"}
    response = ada.http.options(path, headers=headers)

    assert response.headers["Access-Control-Allow-Headers"] == "traceparent, x-requested-with"
    assert "Access-Control-Request-Headers" in response.headers["Vary"]
    assert "Content-Type" not in response.headers


def test_a_preflight_with_malformed_headers_gets_the_usual_ones(ada: Browser) -> None:
    response = ada.http.options("/oauth/token", headers={"Access-Control-Request-Headers": "a:b; <script>"})

    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"


def test_a_refusal_without_a_token_names_the_error_in_the_body_only(ada: Browser) -> None:
    """RFC 6750 §3.1: the challenge has no error code if the request has no token."""
    response = ada.http.get("/oauth/userinfo")

    assert (response.json or {})["error"] == "invalid_token"
    assert "error=" not in response.headers["WWW-Authenticate"]
