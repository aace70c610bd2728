"""Responses of a provider that are made to break the program: nothing is stored, and no response is a 500."""

from __future__ import annotations

import base64
import math
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, assert_refused, browser_of, list_accounts
from valetkey import OpenIDProvider
from valetkey.outbound.fetch_limits import WaitLimit


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "at", "expires_in": 1e999, "id_token": "x"}',
        b'{"access_token": "at", "expires_in": NaN, "id_token": "x"}',
        b'{"access_token": "at", "expires_in": ' + b"9" * 4000 + b"}",
        b'{"access_token": "at", "expires_at": 1e999}',
        b'{"access_token": "at", "expires_at": []}',
        b'{"error": ["x"], "error_description": {"a": 1}}',
        b"[" * 50_000,
        b"x" * 200_000,
        b"null",
    ],
)
def test_a_token_response_that_cannot_be_calculated_with_is_a_page(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, body: bytes
) -> None:
    provider.token_response = lambda form: (200, body)

    assert browser.sign_in().status_code == 400
    assert list_accounts(app) == []


def test_line_breaks_and_terminal_codes_of_the_provider_do_not_reach_the_log(
    browser: ProviderBrowser, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "valetkey")
    provider.token_response = lambda form: (
        400,
        b'{"error": "x\\u001b[31m\\r\\nforged line", "error_description": "y"}',
    )

    assert browser.sign_in().status_code == 400
    (line,) = [record.getMessage() for record in caplog.records if "token endpoint" in record.getMessage()]
    assert line.isprintable()


@pytest.mark.parametrize(
    "claims",
    [
        {"auth_time": 10**400},
        {"exp": math.inf},
        {"aud": [{}, CLIENT_ID], "azp": CLIENT_ID},
        {"aud": []},
        {"azp": 7},
        {"sub": "x" * 256},
        {"sub": "a\x00"},
        {"sub": ["ada-1"]},
        {"nonce": ["x"]},
        {"at_hash": ["x"]},
        {"email": "ada@example.org\r\nBcc: eve@example.org"},
        {"email": "\u212aim@example.org"},  # the Kelvin sign, which is k in lower case
        {"email": "\uff41da@example.org"},  # a full-width letter, which users may type
    ],
)
def test_a_claim_of_another_type_or_size_creates_no_account_for_another_user(
    app: Flask, browser: ProviderBrowser, claims: dict[str, Any]
) -> None:
    response = browser.sign_in(**claims)

    assert (response.status_code, len(list_accounts(app))) in ((400, 0), (303, 1))
    assert response.status_code == 400 or "auth_time" in claims


def test_only_address_name_and_picture_are_taken_from_userinfo(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider(sign_up=["example.com"])])
    provider.userinfo = {"sub": "ada-1", "email": "ada@example.org", "email_verified": True, "hd": "example.com"}

    assert browser_of(app, provider).sign_in(email=None).status_code == 400
    assert list_accounts(app) == []


def test_email_verified_of_the_id_token_does_not_count_for_an_address_from_userinfo(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.userinfo = {"sub": "ada-1", "email": "victim@example.org"}

    browser.sign_in(email=None, email_verified=True)

    (account,) = list_accounts(app)
    assert (account.email, account.email_verified_at) == ("victim@example.org", None)


def test_a_posted_response_with_a_parameter_that_is_sent_twice_is_refused(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    parameters = provider.answer(browser.begin().location)
    body = urlencode([*parameters.items(), *[("code", "of-somebody-else")] * 50])

    response = app.test_client().post(
        "/account/sign-in/example/callback", data=body, content_type="application/x-www-form-urlencoded"
    )

    assert response.location.count("code=") == 2
    assert_refused(browser.http.get(response.location), browser)


def test_too_many_sign_ins_that_wait_for_slow_providers_are_a_page_with_the_other_ways(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = provider.answer(browser.begin().location)
    busy = WaitLimit(1, limit_per_host=1)
    monkeypatch.setattr(app.extensions["valetkey"].fetch_slots, "providers", busy.acquire)
    with busy.acquire(provider.issuer):
        response = browser.finish(parameters)

    assert response.status_code == 400
    assert "cannot be reached at the moment" in response.text
    assert 'id="sign-in-with-password"' in response.text


def test_client_id_and_secret_are_encoded_for_http_basic(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    site = OpenIDProvider(provider.issuer, CLIENT_ID, "a+b%c:d ", name="Example")
    app = make_app(sqlite_store_url, sign_in_with=[site])
    sent: list[str] = []
    reply = provider.reply

    def record(method: str, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        sent.append(authorization)
        return reply(method, path, form, authorization)

    provider.reply = record  # type: ignore[method-assign]
    browser_of(app, provider).sign_in()

    (basic,) = [value for value in sent if value]
    assert base64.b64decode(basic.removeprefix("Basic ")) == f"{CLIENT_ID}:a%2Bb%25c%3Ad+".encode()
    assert CLIENT_SECRET not in basic


@pytest.mark.parametrize(("at_hash", "status"), [("4J8UayM9qUGnNqHaqK2rpChA_M6CMUIfl5gcZqvthBE", 303), ("A" * 43, 400)])
def test_the_hash_of_the_access_token_is_checked_with_ed25519(
    browser: ProviderBrowser, provider: FakeProvider, at_hash: str, status: int
) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["Ed25519"]}
    provider.algorithm = "Ed25519"

    assert browser.sign_in(at_hash=at_hash).status_code == status


@pytest.mark.parametrize(
    ("claims", "is_allowed"),
    [
        ({"email": "ada@EXAMPLE.com"}, True),
        ({"email": "ada@sub.example.com"}, False),
        ({"email": "ada@notexample.com"}, False),
        ({"email": "ada@example.com.evil.example"}, False),
        ({"email": "ada@evil.example,ada@example.com"}, False),
        ({"email": "ada@ex\u0430mple.com"}, False),  # a Cyrillic letter
        ({"email": "ada@example.com."}, False),
        ({"email": '"ada@example.com"@evil.example'}, False),
        ({"hd": "EXAMPLE.com"}, True),
        ({"hd": "sub.example.com"}, False),
        ({"hd": "example.com.evil.example"}, False),
        ({"hd": "ex\uff41mple.com"}, False),
        ({"hd": ["example.com"]}, False),
        ({"email": "ada@example.com", "email_verified": False}, False),
    ],
    ids=str,
)
def test_only_members_of_an_allowed_domain_can_sign_up(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, claims: dict[str, Any], is_allowed: bool
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider(sign_up=["Example.com"])])

    response = browser_of(app, provider).sign_in(**claims)

    assert (response.status_code, len(list_accounts(app))) == ((303, 1) if is_allowed else (400, 0))
