"""docs/pages.md lists the fields and buttons of the real pages, for programs that fill them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, Browser, sign_in_new_account
from tests.support.clock import NOW, Clock
from tests.support.fake_provider import FakeProvider
from tests.support.form import Form, parse_forms
from tests.support.provider_sign_in import ProviderBrowser, browser_of
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.protocol.resource_owner import Owner

PAGE = Path(__file__).parents[2] / "docs" / "pages.md"


@pytest.fixture
def pages(app: Flask, ada: Browser, register: Register, provider_pages: dict[str, str]) -> dict[str, str]:
    """The HTML of each page in docs/pages.md, by its heading there."""
    device = register("native", name="Television")
    response = app.test_client().post("/oauth/device", data={"client_id": device.client_id, "scope": "profile"})
    device_codes = response.json
    signed_out = app.test_client()
    ada.obtain_tokens(scope=("openid",))  # the consent is remembered
    return {
        **provider_pages,
        "Create an account": signed_out.get("/account/sign-up").text,
        "Consent": ada.get(ada.authorize().location).text,
        "Connect a device": ada.get("/device").text,
        "Connect a device, with the code in the URL": ada.get(f"/device?user_code={device_codes['user_code']}").text,
        "Personal access tokens": ada.get("/account/tokens").text,
        "Create a personal access token": ada.get("/account/tokens/new").text,
        "Access to your account": provider_pages["Access to your account"] + _get_access_page(app, ada),
        "Sign out": ada.get("/oauth/logout").text,
        "Signed out": signed_out.get("/oauth/logout").text,
        "Signed out, apps are notified": _get_signed_out_page_with_frames(app, register),
        "Continue to an unverified app": _get_page_for_strangers(app),
        "Going back to the app": ada.authorize(response_mode="form_post", prompt="none", scope="openid").text,
    }


@pytest.fixture
def provider_pages(make_app: MakeApp, store_url: str, clock: Clock) -> Iterator[dict[str, str]]:
    """The HTML of pages of an app with ``sign_in_with``, by heading; joined if a page has several states."""
    with FakeProvider(clock) as provider, FakeProvider(clock) as other:
        app = make_app(store_url, sign_in_with=[provider.provider(), other.provider("Other")])
        maya = browser_of(app, provider)
        sign_in = maya.http.get("/account/sign-in").text
        signed_out_refusal = maya.finish({"error": "access_denied"}).text
        maya.sign_in(email="maya@example.org", email_verified=True)
        before_connecting = maya.http.get("/account").text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', before_connecting)
        assert token
        begun = maya.http.post("/account/sign-in/other/connect", data={"csrf_token": token[1]})
        browser = ProviderBrowser(maya.http, other, "other")
        browser.finish(other.answer(begun.location, email="maya@example.org", email_verified=True))
        account = before_connecting + maya.http.get("/account").text
        access = maya.http.get("/account/access").text
        signed_in_refusal = maya.finish({"error": "access_denied"}).text
        address_is_taken = browser_of(app, provider).sign_in(sub="other", email="maya@example.org").text
        browser_of(app, provider).sign_in(sub="mallory", email="zoe@example.org", email_verified=False)
        address_is_unverified = browser_of(app, provider).sign_in(sub="zoe", email="zoe@example.org").text
    refusals = signed_out_refusal + signed_in_refusal + address_is_taken + address_is_unverified
    return {
        "Sign in": sign_in,
        "A provider did not sign the user in": "".join(re.findall(r"<main.*?</main>", refusals, re.S)),
        "Providers on the account page": "".join(
            re.findall(r'<section aria-labelledby="providers".*?</section>', account, re.S)
        ),
        "Access to your account": access,
    }


def _get_access_page(app: Flask, ada: Browser) -> str:
    """Create a personal access token, and return the page that lists it and the app."""
    spec = TokenSpec("Backup", frozenset({"profile"}), NOW + 86400)
    create_personal_token(spec, Owner("ada"), app.extensions["valetkey"], NOW, None)
    return ada.get("/account/access").text


def _get_signed_out_page_with_frames(app: Flask, register: Register) -> str:
    """Sign out of an app that uses front-channel logout. Return the page after that, which has a frame."""
    members = {"post_logout_redirect_uris": [CALLBACK], "frontchannel_logout_uri": "https://shop.example/out"}
    eve = Browser(app.test_client(), register(members=members))
    sign_in_new_account(eve, app.extensions["valetkey"], "eve@example.org", "Eve")
    id_token = eve.obtain_tokens(scope=("openid",))["id_token"]
    parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": CALLBACK}
    return eve.get("/oauth/logout", query_string=parameters).text


def _get_page_for_strangers(app: Flask) -> str:
    """Send an invalid authorization request of a client that registered itself. Return the page with the error."""
    http = app.test_client()
    client_id = http.post("/oauth/register", json={"redirect_uris": [CALLBACK]}).json["client_id"]
    return http.get("/oauth/authorize", query_string={"client_id": client_id, "redirect_uri": CALLBACK}).text


def test_the_docs_list_exactly_the_fields_and_buttons_of_the_pages(pages: dict[str, str]) -> None:
    documented = {title: set(re.findall(r"^\| `([^` ]+)`", text, re.M)) for title, text in _sections()}

    assert {title: _find_names(html) for title, html in pages.items()} == documented


def _sections() -> list[tuple[str, str]]:
    """Return heading and text of each section of docs/pages.md."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _find_names(page: str) -> set[str]:
    """Return the names of all fields and ``#id`` of all buttons and links of a page."""
    links = {f"#{link}" for link in re.findall(r'<a [^>]*id="([^"]+)"', page)}
    selects = set(re.findall(r'<select [^>]*name="([^"]+)"', page))
    names = links | selects | {name for form in parse_forms(page) for name in _names_in_form(form)}
    return {re.sub(r"^(#\w+-)(example|other)$", r"\1", name) for name in names}  # without the id of the provider


def _names_in_form(form: Form) -> set[str]:
    fields = {name for name, _ in form.fields + form.choices}
    return fields | {f"#{button}" for button in form.buttons if button}
