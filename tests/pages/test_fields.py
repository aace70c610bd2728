"""docs/pages.md names the fields and buttons that the real pages have: programs that drive the pages go by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Register
from tests.services.form import Form, read_forms
from tests.vocabulary import Browser

PAGE = Path(__file__).parents[2] / "docs" / "pages.md"


@pytest.fixture
def pages(app: Flask, ada: Browser, register: Register) -> dict[str, str]:
    """Each page of docs/pages.md as a browser gets it."""
    device = register("native", name="Television")
    asked = app.test_client().post("/oauth/device", data={"client_id": device.client_id, "scope": "profile"}).json
    stranger = app.test_client()
    given = ada.get(f"/device?user_code={asked['user_code']}").text
    return {
        "Sign in": stranger.get("/account/sign-in").text,
        "Create an account": stranger.get("/account/sign-up").text,
        "Consent": ada.get(ada.ask().location).text,
        "Connect a device": ada.get("/device").text,
        "Connect a device, the code given": given,
        "Sign out": ada.get("/oauth/logout").text,
    }


def test_every_field_and_button_is_written_down_and_no_other(pages: dict[str, str]) -> None:
    written = {title: set(re.findall(r"^\| `([^`]+)` \|", text, re.M)) for title, text in _sections()}

    assert {title: _seen(text) for title, text in pages.items()} == written


def _sections() -> list[tuple[str, str]]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _seen(page: str) -> set[str]:
    return {name for form in read_forms(page) for name in _names(form)}


def _names(form: Form) -> set[str]:
    fields = {name for name, _ in form.values + form.boxes}
    return fields | {f"#{button}" for button in form.buttons if button}
