"""docs/pages.md names the fields and buttons that the real pages have: programs that drive the pages go by it."""

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
    """Each page of docs/pages.md as a browser gets it."""
    device = register("native", name="Television")
    asked = app.test_client().post("/oauth/device", data={"client_id": device.client_id, "scope": "profile"}).json
    stranger = app.test_client()
    ada.obtain_tokens(scope=("openid",))  # allowed, and remembered
    given = ada.get(f"/device?user_code={asked['user_code']}").text
    return {
        "Sign in": stranger.get("/account/sign-in").text,
        "Create an account": stranger.get("/account/sign-up").text,
        "Consent": ada.get(ada.authorize().location).text,
        "Connect a device": ada.get("/device").text,
        "Connect a device, the code given": given,
        "Personal access tokens": ada.get("/account/tokens").text,
        "A new personal access token": ada.get("/account/tokens/new").text,
        "Sign out": ada.get("/oauth/logout").text,
        "Signed out": stranger.get("/oauth/logout").text,
        "Signed out, apps are told": _signed_out_of_an_app(app, register),
        "Going back to the app": ada.authorize(response_mode="form_post", prompt="none", scope="openid").text,
    }


def _signed_out_of_an_app(app: Flask, register: Register) -> str:
    """The page after signing out of an app that is told by the front channel."""
    members = {"post_logout_redirect_uris": [CALLBACK], "frontchannel_logout_uri": "https://shop.example/out"}
    eve = Browser(app.test_client(), register(members=members))
    sign_in_new_account(eve, app.extensions["valetkey"], "eve@example.org", "Eve")
    asked = {"id_token_hint": eve.obtain_tokens(scope=("openid",))["id_token"], "post_logout_redirect_uri": CALLBACK}
    return eve.get("/oauth/logout", query_string=asked).text


def test_every_field_and_button_is_written_down_and_no_other(pages: dict[str, str]) -> None:
    written = {title: set(re.findall(r"^\| `([^`]+)` \|", text, re.M)) for title, text in _sections()}

    assert {title: _seen(text) for title, text in pages.items()} == written


def _sections() -> list[tuple[str, str]]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _seen(page: str) -> set[str]:
    links = {f"#{link}" for link in re.findall(r'<a [^>]*id="([^"]+)"', page)}
    chosen = set(re.findall(r'<select [^>]*name="([^"]+)"', page))
    return links | chosen | {name for form in parse_forms(page) for name in _names(form)}


def _names(form: Form) -> set[str]:
    fields = {name for name, _ in form.fields + form.choices}
    return fields | {f"#{button}" for button in form.buttons if button}
