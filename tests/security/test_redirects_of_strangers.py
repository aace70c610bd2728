"""RFC 9700 §4.11.2: no automatic redirect of users who are not signed in to clients that registered themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.conformance.client_website import ClientWebsite
from tests.support.app import Register
from tests.support.browser_client import CALLBACK, Browser, sign_in_new_account
from tests.support.form import parse_forms
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime

AFTER_LOGOUT = "https://shop.example/bye"
LOOPBACK = "http://127.0.0.1:9000/back"
NATIVE = "com.example.shop:/back"


def register_itself(app: Flask, **metadata: Any) -> CreatedClient:
    """Register a client by dynamic registration."""
    members = {"redirect_uris": [CALLBACK], "client_name": "Shop <b>", **metadata}
    response = app.test_client().post("/oauth/register", json=members)
    assert response.status_code == 201, response.text
    secret = response.json.get("client_secret")
    return CreatedClient(response.json["client_id"], Secret(secret) if secret else None)


@pytest.fixture
def stranger(app: Flask) -> Browser:
    """A browser in which nobody is signed in, and a client that registered itself."""
    return Browser(app.test_client(), register_itself(app, post_logout_redirect_uris=[AFTER_LOGOUT, LOOPBACK]))


@pytest.fixture
def website() -> Iterator[ClientWebsite]:
    running = ClientWebsite()
    yield running
    running.close()


ERRORS: list[dict[str, Any]] = [
    {"scope": "unknown"},
    {"response_type": "token"},
    {"code_challenge": None},
    {"request": "e30.e30."},
    {"resource": "https://other.example"},
    {"prompt": "none login"},
    {"nonce": "n" * 2000},
    {"response_mode": "fragment"},
    {"id_token_hint": "not.an.idtoken"},
]


@pytest.mark.parametrize("changes", ERRORS, ids=str)
def test_an_error_is_a_page_with_a_link_that_names_the_host(stranger: Browser, changes: dict[str, Any]) -> None:
    page = stranger.authorize(**changes)

    assert (page.status_code, page.location) == (400, None)
    assert "<bdi>shop.example</bdi>" in page.text
    assert f'id="continue" href="{CALLBACK}?error=' in page.text and "state=xyz" in page.text
    assert "<script" not in page.text and "http-equiv" not in page.text
    assert "Shop &lt;b&gt;" in page.text


def test_an_error_in_a_form_is_posted_only_by_a_click(stranger: Browser) -> None:
    page = stranger.authorize(scope="unknown", response_mode="form_post")

    (form,) = [form for form in parse_forms(page.text) if "continue" in form.buttons]
    assert page.status_code == 400
    assert {name for name, _ in form.fields} == {"error", "error_description", "state", "iss"}
    assert f'action="{CALLBACK}"' in page.text and "<script" not in page.text


def test_a_client_with_a_metadata_document_gets_the_page_too(app: Flask, website: ClientWebsite) -> None:
    document = {
        "client_id": website.url("/client.json"),
        "client_name": "Assistant",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
    }
    browser = Browser(app.test_client(), CreatedClient(website.publish("/client.json", document), None))

    page = browser.authorize(scope="unknown")

    assert (page.status_code, page.location) == (400, None)
    assert "<bdi>shop.example</bdi>" in page.text


def test_a_native_client_with_a_private_scheme_gets_the_page_too(app: Flask) -> None:
    client = register_itself(app, redirect_uris=[NATIVE], application_type="native", token_endpoint_auth_method="none")

    page = Browser(app.test_client(), client).authorize(redirect_uri=NATIVE, scope="unknown")

    assert (page.status_code, page.location) == (400, None)
    assert "com.example.shop: (an app on your device)" in page.text


def test_prompt_none_is_always_redirected(stranger: Browser) -> None:
    for changes in ({}, {"scope": "unknown"}, {"response_type": "token"}):
        response = stranger.authorize(prompt="none", **changes)

        assert response.status_code == 303 and response.location.startswith(f"{CALLBACK}?error=")


def test_an_error_is_redirected_to_a_loopback_address(app: Flask) -> None:
    client = register_itself(
        app, redirect_uris=[LOOPBACK], application_type="native", token_endpoint_auth_method="none"
    )

    response = Browser(app.test_client(), client).authorize(redirect_uri=LOOPBACK, scope="unknown")

    assert response.status_code == 303 and response.location.startswith(f"{LOOPBACK}?error=invalid_scope")


def test_an_error_of_a_client_that_the_operator_created_is_redirected(app: Flask, register: Register) -> None:
    response = Browser(app.test_client(), register()).authorize(scope="unknown")

    assert response.status_code == 303 and response.location.startswith(f"{CALLBACK}?error=invalid_scope")


def test_a_signed_in_user_is_redirected_after_an_error_and_after_deny(stranger: Browser, runtime: Runtime) -> None:
    sign_in_new_account(stranger, runtime, "ada@example.org", "Ada")

    invalid = stranger.authorize(scope="unknown")
    page_url = stranger.authorize().location
    denied = stranger.submit(page_url, {"decision": "deny"})

    assert (invalid.status_code, denied.status_code) == (303, 303)
    assert "error=invalid_scope" in invalid.location and "error=access_denied" in denied.location


def test_a_valid_request_leads_to_the_sign_in_page(stranger: Browser) -> None:
    consent = stranger.authorize()

    assert consent.location.startswith("/oauth/consent/")
    assert stranger.get(consent.location).location.startswith("/account/sign-in")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_logout_without_a_hint_is_a_page_with_a_link(stranger: Browser, method: str) -> None:
    parameters = {"client_id": stranger.client.client_id, "post_logout_redirect_uri": AFTER_LOGOUT, "state": "s"}

    page = (
        stranger.http.open("/oauth/logout", method=method, data=parameters, follow_redirects=True)
        if (method == "POST")
        else stranger.get("/oauth/logout", query_string=parameters)
    )

    assert (page.status_code, page.location) == (200, None)
    assert f'id="continue" href="{AFTER_LOGOUT}?state=s"' in page.text and "<bdi>shop.example</bdi>" in page.text
    assert "<script" not in page.text and "http-equiv" not in page.text


def test_an_expired_confirmation_form_of_a_stranger_is_a_page_with_a_link(stranger: Browser) -> None:
    parameters = {"client_id": stranger.client.client_id, "post_logout_redirect_uri": AFTER_LOGOUT}

    page = stranger.http.post("/oauth/logout/confirm", data=parameters)

    assert (page.status_code, page.location) == (200, None)


def test_logout_with_a_hint_is_redirected(stranger: Browser, runtime: Runtime) -> None:
    sign_in_new_account(stranger, runtime, "ada@example.org", "Ada")
    hint = stranger.obtain_tokens(scope=("openid",))["id_token"]
    stranger.http = stranger.http.application.test_client()

    response = stranger.get(
        "/oauth/logout", query_string={"id_token_hint": hint, "post_logout_redirect_uri": AFTER_LOGOUT}
    )

    assert (response.status_code, response.location) == (303, AFTER_LOGOUT)


def test_logout_is_redirected_to_a_loopback_address_and_to_a_client_of_the_operator(
    stranger: Browser, register: Register
) -> None:
    client = register(members={"post_logout_redirect_uris": [AFTER_LOGOUT]})

    for client_id, uri in ((stranger.client.client_id, LOOPBACK), (client.client_id, AFTER_LOGOUT)):
        response = stranger.get("/oauth/logout", query_string={"client_id": client_id, "post_logout_redirect_uri": uri})

        assert (response.status_code, response.location) == (303, uri)
