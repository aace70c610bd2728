"""Responses that do not belong to the sign-in of the browser: login CSRF, mix-up, replays, open redirects."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from tests.support.every_table import open_engine, read_rows
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, assert_refused, browser_of
from valetkey.storage.tables import metadata
from valetkey.tokens.jws import decode_unverified

NOT_OF_THIS_SITE = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/./\\evil.example",
    "javascript:x",
]


@pytest.mark.parametrize("state", ["", "x", "vk_ps_" + "A" * 50])
def test_a_foreign_state_is_refused_before_the_provider_is_called(
    browser: ProviderBrowser, provider: FakeProvider, state: str
) -> None:
    answer = provider.answer(browser.begin().location)
    provider.requests.clear()

    assert_refused(browser.finish({**answer, "state": state}), browser, "This sign-in was started in another browser")
    assert provider.requests == []


def test_login_csrf_a_response_that_another_browser_began_is_refused(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    attacker = browser_of(app, provider)
    answer = provider.answer(attacker.begin().location)
    browser.begin()

    assert_refused(browser.finish(answer), browser, "This sign-in was started in another browser")


def test_login_csrf_the_button_needs_the_form_token_of_the_browser(browser: ProviderBrowser) -> None:
    browser.http.get("/account/sign-in")

    response = browser.http.post("/account/sign-in/example", data={"csrf_token": "x"})

    assert response.status_code == 400
    assert "This form has expired" in response.text


def test_a_replayed_response_is_refused(browser: ProviderBrowser, provider: FakeProvider, app: Flask) -> None:
    begun = browser.begin()
    answer = provider.answer(begun.location)
    assert browser.finish(answer).status_code == 303
    provider.requests.clear()
    browser.http.delete_cookie("valetkey_session")

    response = browser.finish(answer)

    assert response.status_code == 400
    assert "has answered this sign-in already" in response.text
    assert not browser.is_signed_in()
    assert provider.requests == []


def test_a_response_that_the_signed_in_browser_sends_twice_continues_without_a_new_session(
    browser: ProviderBrowser, provider: FakeProvider, app: Flask
) -> None:
    answer = provider.answer(browser.begin(next="/device").location)
    browser.finish(answer)
    provider.requests.clear()

    response = browser.finish(answer)

    assert (response.status_code, response.location) == (303, "/device")
    assert "Set-Cookie" not in response.headers
    assert provider.requests == []
    other = browser_of(app, provider)
    other.sign_in()
    assert other.finish(answer).status_code == 400


def test_a_response_after_ten_minutes_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, clock: Clock
) -> None:
    answer = provider.answer(browser.begin().location)
    clock.forward(601)

    assert_refused(browser.finish(answer), browser, "This sign-in has expired")


def test_a_code_of_another_sign_in_is_refused_by_its_code_verifier(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    attacker = browser_of(app, provider)
    stolen = provider.answer(attacker.begin().location)
    own = provider.answer(browser.begin().location)

    assert_refused(browser.finish({**own, "code": stolen["code"]}), browser, "Example did not sign you in")


@pytest.mark.parametrize(
    "repeated",
    [
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
        {"error_description": "x"},
        {"code": "x"},
        {"state": "x"},
        {"user": "{}"},
    ],
)
def test_a_response_with_a_repeated_parameter_is_refused_before_the_provider_is_called(
    browser: ProviderBrowser, provider: FakeProvider, repeated: dict[str, str]
) -> None:
    """RFC 6749 §3.1; a repeated ``iss`` is not a missing one, which providers that never send it may leave out."""
    provider.metadata = {"authorization_response_iss_parameter_supported": None}
    answer = provider.answer(browser.begin().location)
    del answer["iss"]
    provider.requests.clear()
    pairs = [*answer.items(), *[*repeated.items()] * 2]

    response = browser.http.get(f"/account/sign-in/example/callback?{urlencode(pairs)}")

    assert_refused(response, browser)
    assert provider.requests == []
    assert browser.finish(answer).status_code == 303


def test_a_repeated_parameter_that_is_not_read_is_ignored(browser: ProviderBrowser, provider: FakeProvider) -> None:
    answer = provider.answer(browser.begin().location)

    response = browser.http.get(f"/account/sign-in/example/callback?{urlencode(answer)}&scope=a&scope=b")

    assert response.status_code == 303


def test_mix_up_a_response_of_one_provider_is_not_taken_for_another(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    with FakeProvider(clock) as evil:
        app = make_app(sqlite_store_url, sign_in_with=[provider.provider(), evil.provider("Evil")])
        browser = browser_of(app, provider)
        answer = provider.answer(browser.begin().location)
        evil.requests.clear()

        # RFC 9700 §4.4: the browser began with Example, and returns to the redirect URI of Evil
        response = ProviderBrowser(browser.http, evil, "evil").finish(answer)
        assert_refused(response, browser)
        assert evil.requests == []

        # the request was sent on to Example, though it was begun with Evil: iss is not Evil's (RFC 9207)
        second = ProviderBrowser(browser.http, evil, "evil")
        begun = provider.answer(second.begin().location)
        evil.requests.clear()
        assert_refused(second.finish(begun), browser)
        assert [path for path, _ in evil.requests if path == "/token"] == []


def test_a_response_without_iss_is_refused_if_the_metadata_promises_it(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    answer = provider.answer(browser.begin().location)
    del answer["iss"]

    assert_refused(browser.finish(answer), browser)


def test_a_response_without_iss_is_accepted_if_the_metadata_does_not_promise_it(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": None}
    answer = provider.answer(browser.begin().location)
    del answer["iss"]

    assert browser.finish(answer).status_code == 303


@pytest.mark.parametrize("parameter", ["state", "iss"])
def test_a_parameter_that_is_sent_twice_is_refused(
    browser: ProviderBrowser, provider: FakeProvider, parameter: str
) -> None:
    answer = provider.answer(browser.begin().location)
    query = "&".join(f"{name}={value}" for name, value in [*answer.items(), (parameter, answer[parameter])])

    response = browser.http.get(f"/account/sign-in/example/callback?{query}")

    assert_refused(response, browser, "Example")


@pytest.mark.parametrize("next_path", NOT_OF_THIS_SITE)
def test_the_redirect_after_sign_in_stays_on_this_site(browser: ProviderBrowser, next_path: str) -> None:
    assert browser.sign_in(next=next_path).location == "/account"


@pytest.mark.parametrize("auth_time", [None, 0])
@pytest.mark.parametrize("parameters", [{"prompt": "login"}, {"max_age": "60"}])
def test_a_recent_sign_in_that_an_app_needs_must_be_confirmed_by_the_provider(
    browser: ProviderBrowser, register: Register, clock: Clock, auth_time: int | None, parameters: dict[str, str]
) -> None:
    consent_url = urlsplit(Browser(browser.http, register()).authorize(**parameters).location).path

    response = browser.sign_in(next=consent_url, auth_time=auth_time)
    assert_refused(response, browser, "does not confirm that you did")

    response = browser.sign_in(next=consent_url, auth_time=int(clock()))
    assert response.location == consent_url
    assert "/consent/" in browser.http.get(consent_url).request.path
    assert browser.http.get(consent_url).status_code == 200


def test_the_session_that_the_browser_had_before_ends_at_sign_in(app: Flask, browser: ProviderBrowser) -> None:
    browser.sign_in()
    first = browser.http.get_cookie("valetkey_session")
    browser.sign_in(sub="eve-2", email="eve@example.org")
    second = browser.http.get_cookie("valetkey_session")

    assert first and second and first.value != second.value
    browser.http.set_cookie("valetkey_session", first.value)
    assert not browser.is_signed_in()


def test_what_is_stored_of_a_request_does_not_contain_its_secrets(
    app: Flask, browser: ProviderBrowser, sqlite_store_url: str
) -> None:
    url = browser.begin().location

    engine = open_engine(sqlite_store_url)
    stored = repr(read_rows(engine, metadata.tables["valetkey_provider_requests"]))
    engine.dispose()
    for value in re.findall(r"(?:state|nonce|code_challenge)=([^&]+)", url):
        assert value not in stored


def test_a_browser_stores_twenty_requests_at_most(browser: ProviderBrowser, sqlite_store_url: str) -> None:
    for _ in range(25):
        browser.begin()

    engine = open_engine(sqlite_store_url)
    assert len(read_rows(engine, metadata.tables["valetkey_provider_requests"])) == 20
    engine.dispose()


def test_an_unknown_provider_is_a_404_page(browser: ProviderBrowser) -> None:
    assert browser.http.get("/account/sign-in/unknown/callback?code=x").status_code == 404


@pytest.mark.parametrize("parameters", [{"prompt": "login"}, {"max_age": "60"}])
def test_a_sign_in_beside_the_request_of_an_app_is_not_the_recent_one_that_the_app_needs(
    browser: ProviderBrowser, register: Register, parameters: dict[str, str]
) -> None:
    """The provider signs in whoever is at the browser without a question, and does not say when the user signed in."""
    app = Browser(browser.http, register())
    browser.sign_in()
    app.obtain_code()
    consent_url = urlsplit(app.authorize(**parameters).location).path

    browser.sign_in()

    assert urlsplit(browser.http.get(consent_url).location).path == "/account/sign-in"
    refused = app.authorize(**{**parameters, "prompt": "none", "max_age": "60"})
    assert parse_qs(urlsplit(refused.location).query)["error"] == ["login_required"]


def test_the_time_of_a_sign_in_that_the_provider_does_not_say_is_in_no_token(
    browser: ProviderBrowser, register: Register
) -> None:
    app = Browser(browser.http, register())
    browser.sign_in()

    tokens = app.obtain_tokens(scope=("openid",))

    for name in ("id_token", "access_token"):
        assert "auth_time" not in decode_unverified(tokens[name])[1]


def test_another_user_than_the_app_named_is_refused_also_if_the_provider_signed_in_long_ago(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, register: Register, clock: Clock
) -> None:
    eve = browser_of(app, provider)
    client = register()
    eve.sign_in(sub="eve", email="eve@example.org")
    hint = Browser(eve.http, client).obtain_tokens(scope=("openid",))["id_token"]
    consent_url = urlsplit(Browser(browser.http, client).authorize(scope="openid", id_token_hint=hint).location).path

    browser.sign_in(next=consent_url, auth_time=int(clock()) - 5000)

    refused = browser.http.get(consent_url)
    assert parse_qs(urlsplit(refused.location).query)["error"] == ["login_required"]


@pytest.mark.parametrize("has_auth_time", [True, False])
def test_a_user_of_a_provider_creates_a_personal_token_after_signing_in_again(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock, has_auth_time: bool
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()])
    browser = browser_of(app, provider)
    browser.sign_in(auth_time=int(clock()) if has_auth_time else None)
    new_token = "/account/tokens/new"
    assert browser.http.get(new_token).status_code == 200
    clock.forward(3601)
    assert urlsplit(browser.http.get(new_token).location).path == "/account/sign-in"

    url = browser.begin(next=new_token).location

    assert parse_qs(urlsplit(url).query)["max_age"] == ["0"]  # so the provider authenticates the user again
    browser.finish(provider.answer(url, auth_time=int(clock()) if has_auth_time else None))
    assert browser.http.get(new_token).status_code == 200


def test_a_silent_sign_in_of_long_ago_at_the_provider_creates_no_personal_token(
    browser: ProviderBrowser, clock: Clock
) -> None:
    browser.sign_in(auth_time=int(clock()) - 3601)

    assert urlsplit(browser.http.get("/account/tokens/new").location).path == "/account/sign-in"
