"""docs/pages.md lists the fields and buttons of the real pages, for programs that fill them in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import CALLBACK, Browser, sign_in_new_account
from tests.support.form import Form, parse_forms

PAGE = Path(__file__).parents[2] / "docs" / "pages.md"


@pytest.fixture
def pages(app: Flask, ada: Browser, register: Register) -> dict[str, str]:
    """The HTML of each page in docs/pages.md, by its heading there."""
    device = register("native", name="Television")
    response = app.test_client().post("/oauth/device", data={"client_id": device.client_id, "scope": "profile"})
    device_codes = response.json
    signed_out = app.test_client()
    ada.obtain_tokens(scope=("openid",))  # the consent is remembered
    return {
        "Sign in": signed_out.get("/account/sign-in").text,
        "Create an account": signed_out.get("/account/sign-up").text,
        "Consent": ada.get(ada.authorize().location).text,
        "Connect a device": ada.get("/device").text,
        "Connect a device, the code given": ada.get(f"/device?user_code={device_codes['user_code']}").text,
        "Personal access tokens": ada.get("/account/tokens").text,
        "A new personal access token": ada.get("/account/tokens/new").text,
        "Sign out": ada.get("/oauth/logout").text,
        "Signed out": signed_out.get("/oauth/logout").text,
        "Signed out, apps are told": _get_signed_out_page_with_frames(app, register),
        "Going back to the app": ada.authorize(response_mode="form_post", prompt="none", scope="openid").text,
    }


def _get_signed_out_page_with_frames(app: Flask, register: Register) -> str:
    """Sign out of an app that uses front-channel logout. Return the page after that, which has a frame."""
    members = {"post_logout_redirect_uris": [CALLBACK], "frontchannel_logout_uri": "https://shop.example/out"}
    eve = Browser(app.test_client(), register(members=members))
    sign_in_new_account(eve, app.extensions["valetkey"], "eve@example.org", "Eve")
    id_token = eve.obtain_tokens(scope=("openid",))["id_token"]
    parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": CALLBACK}
    return eve.get("/oauth/logout", query_string=parameters).text


def test_the_docs_list_exactly_the_fields_and_buttons_of_the_pages(pages: dict[str, str]) -> None:
    documented = {title: set(re.findall(r"^\| `([^`]+)` \|", text, re.M)) for title, text in _sections()}

    assert {title: _find_names(html) for title, html in pages.items()} == documented


def _sections() -> list[tuple[str, str]]:
    """Return heading and text of each section of docs/pages.md."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _find_names(page: str) -> set[str]:
    """Return the names of all fields and ``#id`` of all buttons and links of a page."""
    links = {f"#{link}" for link in re.findall(r'<a [^>]*id="([^"]+)"', page)}
    selects = set(re.findall(r'<select [^>]*name="([^"]+)"', page))
    return links | selects | {name for form in parse_forms(page) for name in _names_in_form(form)}


def _names_in_form(form: Form) -> set[str]:
    fields = {name for name, _ in form.fields + form.choices}
    return fields | {f"#{button}" for button in form.buttons if button}
