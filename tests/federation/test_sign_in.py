"""Sign-in, sign-up and consent with an OpenID Provider."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, list_accounts
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey import GitHub
from valetkey.accounts.security import disable_account
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.tokens.jws import decode_unverified


def test_the_first_sign_in_creates_an_account_with_name_and_verified_address(
    app: Flask, browser: ProviderBrowser
) -> None:
    response = browser.sign_in(next="/device", picture="https://pictures.example/ada.png")

    assert (response.status_code, response.location) == (303, "/device")
    (account,) = list_accounts(app)
    assert (account.name, account.email, account.password_hash) == ("Ada Lovelace", "ada@example.org", None)
    assert account.email_verified_at is not None
    assert account.claim_values == {"picture": "https://pictures.example/ada.png"}
    assert browser.is_signed_in()


def test_the_second_sign_in_is_to_the_same_account_also_with_another_name_and_address(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    browser.sign_in()

    other = browser_of(app, provider)
    other.sign_in(name="Ada King", email="countess@example.org")

    assert other.is_signed_in()
    (account,) = list_accounts(app)
    assert account.email == "ada@example.org"


def test_the_authorization_request_has_state_nonce_and_pkce_and_the_redirect_uri_of_the_provider(
    browser: ProviderBrowser, provider: FakeProvider
) -> None:
    url = browser.begin().location

    parameters = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{provider.issuer}/authorize?")
    assert parameters.pop("state").startswith("vk_ps_")
    assert len(parameters.pop("nonce")) == len(parameters.pop("code_challenge")) == 43
    assert parameters == {
        "response_type": "code",
        "client_id": "site",
        "redirect_uri": "http://127.0.0.1:8000/account/sign-in/example/callback",
        "scope": "openid email profile",
        "code_challenge_method": "S256",
    }


def test_an_app_gets_consent_and_tokens_of_the_user_who_signs_in_with_the_provider(
    app: Flask, browser: ProviderBrowser, register: Register, clock: Clock
) -> None:
    client = Browser(browser.http, register())
    consent_url = urlsplit(client.authorize().location).path
    response = browser.sign_in(next=consent_url)

    assert response.location == consent_url
    redirect = client.approve(consent_url)
    code = parse_qs(urlsplit(redirect.location).query)["code"][0]
    tokens = client.redeem(code).json
    assert tokens
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    called = browser.http.get("/api/protected", headers=headers)
    assert called.json["user"] == list_accounts(app)[0].sub  # type: ignore[index]


def test_prompt_login_hint_max_age_and_acr_values_of_an_app_are_passed_on(
    browser: ProviderBrowser, register: Register
) -> None:
    client = Browser(browser.http, register())
    hints = {"prompt": "select_account", "login_hint": "ada@example.org", "max_age": "60", "acr_values": "gold silver"}
    consent_url = urlsplit(client.authorize(**hints).location).path

    url = browser.begin(next=consent_url).location

    parameters = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert {name: parameters[name] for name in hints} == hints


def test_a_user_who_wants_to_use_another_account_chooses_it_at_the_provider(
    make_app: MakeApp, store_url: str, provider: FakeProvider
) -> None:
    app = make_app(store_url, sign_in_with=[provider.provider(keep_tokens=True)], password_sign_in=False)
    browser = browser_of(app, provider)
    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    first = parse_qs(urlsplit(browser.begin().location).query)
    assert first["prompt"] == ["consent"] and "max_age" not in first
    browser.sign_in()
    consent_url = urlsplit(Browser(browser.http, client).authorize().location).path
    link = re.search(r'href="([^"]+)"[^>]*>Use another account', browser.http.get(consent_url).text)
    assert link

    url = browser.begin(html.unescape(link[1]), next=consent_url).location

    parameters = parse_qs(urlsplit(url).query)
    assert (parameters["prompt"], parameters["max_age"]) == (["consent select_account"], ["0"])
    assert browser.finish(provider.answer(url, sub="eve", email="eve@example.org")).location == consent_url


def test_an_acr_that_an_app_requests_in_claims_is_passed_on(
    browser: ProviderBrowser, register: Register, provider: FakeProvider
) -> None:
    client = Browser(browser.http, register())
    claims = json.dumps({"id_token": {"acr": {"essential": True, "values": ["gold", "silver"]}}})
    to_sign_in = browser.http.get(client.authorize(scope="openid", claims=claims).location)
    consent_url = redirect_parameters(to_sign_in)["next"]

    begun = browser.begin(next=consent_url)

    assert parse_qs(urlsplit(begun.location).query)["acr_values"] == ["gold silver"]
    browser.finish(provider.answer(begun.location))  # the provider ignores it
    refused = browser.http.get(consent_url)
    assert "unmet_authentication_requirements" in refused.location


def test_auth_time_acr_and_valid_amr_of_the_provider_are_in_the_id_token_of_the_app(
    app: Flask, browser: ProviderBrowser, register: Register, clock: Clock
) -> None:
    client = Browser(browser.http, register())
    consent_url = urlsplit(client.authorize(scope="openid", nonce="n").location).path
    amr = ["otp", "no mfa", "pwd", "", "f\u00e4ce", "a\tb", 5]
    browser.sign_in(next=consent_url, auth_time=clock() - 1000, acr="gold", amr=amr)

    redirect = client.approve(consent_url, scope=("openid",))

    tokens = client.redeem(parse_qs(urlsplit(redirect.location).query)["code"][0]).json
    assert tokens
    _, claims = decode_unverified(tokens["id_token"])
    assert claims["auth_time"] == int(clock() - 1000)
    assert (claims["acr"], claims["amr"]) == ("gold", ["otp", "pwd"])


def test_the_address_is_taken_from_userinfo_if_the_id_token_has_none(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.userinfo = {"sub": "ada-1", "email": "Ada@Example.org", "email_verified": True, "name": "Ada"}

    browser.sign_in(email=None, email_verified=None, name=None)

    (account,) = list_accounts(app)
    assert (account.email, account.name) == ("ada@example.org", "Ada")


def test_the_sign_in_page_has_the_buttons_in_the_order_of_the_setting(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock
) -> None:
    with FakeProvider(clock) as second:
        app = make_app(sqlite_store_url, sign_in_with=[provider.provider("Zebra"), second.provider("Ant")])
        for page in ("sign-in", "sign-up"):
            text = app.test_client().get(f"/account/{page}").text
            assert re.findall(r'id="continue-([a-z]+)"', text) == ["zebra", "ant"]
            assert 'type="password"' in text


def test_without_passwords_there_are_only_the_buttons(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()], password_sign_in=False)
    browser = browser_of(app, provider)

    for page in ("sign-in", "sign-up"):
        text = browser.http.get(f"/account/{page}").text
        assert 'id="continue-example"' in text
        assert 'type="password"' not in text
        assert browser.http.post(f"/account/{page}", data={}).status_code == 404
    for page in ("password", "forgotten"):
        assert browser.http.get(f"/account/{page}").status_code == 404
    browser.sign_in()
    assert "to-password" not in browser.http.get("/account").text


@pytest.mark.parametrize(
    ("sign_up", "claims", "is_allowed"),
    [
        (True, {}, True),
        (False, {}, False),
        (["example.org"], {}, True),
        (["example.org"], {"email_verified": False}, False),
        (["example.com"], {}, False),
        (["example.com"], {"hd": "example.com"}, True),
        (["Tenant-7"], {"tid": "tenant-7", "email_verified": False}, True),
    ],
)
def test_sign_up_with_a_provider_is_off_on_or_for_some_domains(
    make_app: MakeApp,
    sqlite_store_url: str,
    provider: FakeProvider,
    sign_up: bool | list[str],
    claims: dict[str, object],
    is_allowed: bool,
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider(sign_up=sign_up)], sign_up=False)

    response = browser_of(app, provider).sign_in(**claims)

    assert response.status_code == (303 if is_allowed else 400)
    assert len(list_accounts(app)) == is_allowed


@pytest.mark.parametrize("mail_url", [None, "smtp://127.0.0.1:1"])
def test_if_only_a_provider_has_sign_up_nobody_signs_up_with_a_password(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, mail_url: str | None
) -> None:
    providers = [provider.provider(sign_up=["example.org"]), GitHub("a", "b", sign_up=False)]
    app = make_app(sqlite_store_url, sign_in_with=providers, sign_up=False, mail_url=mail_url)
    browser = browser_of(app, provider)
    page = browser.http.get("/account/sign-up")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert token
    assert re.findall(r'id="continue-([a-z]+)"', page.text) == ["example"]
    assert 'name="email"' not in page.text
    assert 'type="password"' in browser.http.get("/account/sign-in").text

    data = {"csrf_token": token[1], "name": "Eve", "email": "eve@evil.example", "password": PASSWORD}
    assert browser.http.post("/account/sign-up", data=data).status_code == 404

    assert list_accounts(app) == []
    assert count_rows(app.extensions["valetkey"].store, "valetkey_outbox") == 0
    assert browser.sign_in().status_code == 303


def test_a_disabled_account_cannot_sign_in(app: Flask, browser: ProviderBrowser, provider: FakeProvider) -> None:
    browser.sign_in()
    runtime = app.extensions["valetkey"]
    disable_account(list_accounts(app)[0].sub, runtime, runtime.clock())

    other = browser_of(app, provider)
    response = other.sign_in()

    assert response.status_code == 400
    assert not other.is_signed_in()


def test_new_keys_of_the_provider_are_used_when_an_id_token_is_signed_with_one(
    browser: ProviderBrowser, provider: FakeProvider, app: Flask, clock: Clock
) -> None:
    browser.sign_in()
    provider.rotate_keys()
    provider.algorithm = "ES256"
    clock.forward(15)

    other = browser_of(app, provider)
    assert other.sign_in().status_code == 303


def test_a_posted_response_is_redirected_so_that_the_browser_sends_its_cookies(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    parameters = provider.answer(browser.begin().location)
    cross_site = app.test_client()

    response = cross_site.post("/account/sign-in/example/callback", data={**parameters, "other": "x"})

    assert response.status_code == 303
    assert "other" not in response.location
    assert not response.headers.getlist("Set-Cookie")[1:]
    assert browser.http.get(response.location).status_code == 303
    assert browser.is_signed_in()


def test_the_clock_of_the_provider_may_be_a_few_seconds_wrong(browser: ProviderBrowser, clock: Clock) -> None:
    assert browser.sign_in(iat=int(clock()) + 4).status_code == 303
