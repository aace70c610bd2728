"""Wrong responses of a provider, or of somebody in its place: a page, a log line, and nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.fake_provider import CLIENT_ID, FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, assert_refused, browser_of, list_accounts

ID_TOKEN_LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "iss"),
    "no issuer": ({"iss": None}, "iss"),
    "another audience": ({"aud": "another-site"}, "aud"),
    "another audience with azp": ({"aud": "another-site", "azp": CLIENT_ID}, "aud"),
    "several audiences without azp": ({"aud": [CLIENT_ID, "another-site"]}, "azp"),
    "azp of another client": ({"azp": "another-site"}, "azp"),
    "no audience": ({"aud": None}, "aud"),
    "another nonce": ({"nonce": "x"}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "expired": ({"exp": 1}, "expired"),
    "expires as a text": ({"exp": "tomorrow"}, "exp"),
    "no expiry": ({"exp": None}, "exp"),
    "issued in the future": ({"iat": 99_999_999_999}, "future"),
    "not valid yet": ({"nbf": 99_999_999_999}, "not yet valid"),
    "hash of another access token": ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash"),
    "no sub": ({"sub": None}, "sub"),
    "a number as sub": ({"sub": 7}, "sub"),
    "an empty sub": ({"sub": ""}, "sub"),
    "a sub with control characters": ({"sub": "a\nb"}, "sub"),
    "a sub that is too long": ({"sub": "a" * 256}, "sub"),
}


@pytest.mark.parametrize("name", ID_TOKEN_LIES)
def test_an_id_token_with_a_wrong_claim_is_refused(
    browser: ProviderBrowser, clean_log: pytest.LogCaptureFixture, name: str
) -> None:
    claims, reason = ID_TOKEN_LIES[name]

    assert_refused(browser.sign_in(**claims), browser)

    (line,) = [record.getMessage() for record in clean_log.records if "provider_refused" in record.getMessage()]
    assert reason in line


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_id_token_without_an_asymmetric_signature_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, algorithm: str
) -> None:
    provider.algorithm = algorithm
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256", algorithm]}

    assert_refused(browser.sign_in(), browser)


def test_an_algorithm_that_the_metadata_does_not_have_is_refused(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256"]}
    provider.algorithm = "ES256"

    assert_refused(browser.sign_in(), browser)


def test_a_key_that_the_provider_does_not_publish_is_refused(browser: ProviderBrowser, provider: FakeProvider) -> None:
    provider.signs_with_unpublished_key = True

    assert_refused(browser.sign_in(), browser)


@pytest.mark.parametrize("id_token", [None, 7, "x", "a.b.c", "eyJ" * 9000])
def test_a_token_response_without_a_usable_id_token_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, id_token: object
) -> None:
    provider.token_response = {"id_token": id_token}

    assert_refused(browser.sign_in(), browser)


@pytest.mark.parametrize(
    "reply",
    [(200, b"not JSON"), (200, []), (200, b"[" * 50_000), (500, {}), (429, b"slow down"), (200, {"error": "x\nlog"})],
)
def test_a_broken_token_response_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, reply: tuple[int, Any], clean_log: pytest.LogCaptureFixture
) -> None:
    provider.token_response = lambda form: reply

    response = browser.sign_in()

    assert_refused(response, browser, "Example")
    assert "\nlog" not in clean_log.text


def test_userinfo_about_another_sub_than_the_id_token_is_refused(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.userinfo = {"sub": "mallory", "email": "ada@example.org", "email_verified": True}

    assert_refused(browser.sign_in(email=None), browser)


def test_metadata_for_another_issuer_is_refused(browser: ProviderBrowser, provider: FakeProvider) -> None:
    provider.metadata = {"issuer": "https://accounts.example"}

    assert_refused(browser.begin(), browser, "Example cannot be reached at the moment")


@pytest.mark.parametrize("endpoint", ["http://evil.example/token", "file:///etc/passwd", 7, None])
def test_an_endpoint_that_is_not_https_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, endpoint: object
) -> None:
    provider.metadata = {"token_endpoint": endpoint}

    assert_refused(browser.begin(), browser, "Example cannot be reached at the moment")


def test_a_provider_that_is_down_is_a_page_at_the_beginning_and_at_the_end(
    browser: ProviderBrowser, provider: FakeProvider, app: Flask
) -> None:
    begun = provider.answer(browser.begin().location)
    provider.stop()

    assert_refused(browser.finish(begun), browser, "Example cannot be reached at the moment")
    other = browser_of(app, provider)
    app.extensions["valetkey"].provider_metadata._documents[provider.issuer]._cached = None
    app.extensions["valetkey"].provider_metadata._documents[provider.issuer]._fresh_until = 0
    assert_refused(other.begin(), other, "Example cannot be reached at the moment")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("access_denied", "You did not allow Example to sign you in"),
        ("temporarily_unavailable", "Example cannot be reached at the moment"),
        ("<script>alert(1)</script>", "Example did not sign you in"),
    ],
)
def test_an_error_of_the_provider_is_a_sentence_without_its_text(
    browser: ProviderBrowser, provider: FakeProvider, error: str, sentence: str, clean_log: pytest.LogCaptureFixture
) -> None:
    answer = provider.answer(browser.begin().location)
    del answer["code"]

    response = browser.finish({**answer, "error": error, "error_description": "Call 555\nand pay"})

    assert_refused(response, browser, sentence)
    assert "555" not in response.text and "script>" not in response.text
    assert "\nand pay" not in clean_log.text


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Ada\u202eevil"}, "ada"),
        ({"name": "Ada\nLovelace"}, "Ada Lovelace"),  # white space becomes a space
        ({"name": "Ada\x1b[31m"}, "ada"),
        ({"name": "x" * 5000}, "ada"),
        ({"name": {"a": 1}}, "ada"),
        ({"name": "<b>Ada</b>"}, "<b>Ada</b>"),
        ({"picture": "javascript:alert(1)"}, "Ada Lovelace"),
        ({"picture": "http://127.0.0.1/x.png"}, "Ada Lovelace"),
        ({"picture": 'https://p.example/"onload="x'}, "Ada Lovelace"),
        ({"acr": 7, "amr": [7, "otp"], "auth_time": None, "sid": []}, "Ada Lovelace"),
    ],
)
def test_hostile_names_and_pictures_are_left_out_or_escaped(
    app: Flask, browser: ProviderBrowser, claims: dict[str, Any], name: str
) -> None:
    assert browser.sign_in(**claims).status_code == 303

    (account,) = list_accounts(app)
    assert (account.name, account.claim_values) == (name, {})
    assert "<b>Ada</b>" not in browser.http.get("/account").text


@pytest.mark.parametrize(
    "email", [None, "", "no address", "ada@example.org\nBcc: x@y.example", "ada@example.org, eve@example.org", 7]
)
def test_a_provider_without_a_usable_address_creates_no_account(
    browser: ProviderBrowser, provider: FakeProvider, email: object
) -> None:
    provider.userinfo = {"sub": "ada-1"}

    assert_refused(browser.sign_in(email=email), browser, "did not provide an e-mail address")
