"""After something was done the next page says so, once; what is refused says what happened and what to do."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from tests.conftest import Register
from tests.support.browser_client import Browser
from valetkey.authorization_server.clients.service import CreatedClient

REVOKED = "The app cannot use your account any more."


def test_revoking_an_app_is_told_on_the_next_page_and_not_again(ada: Browser, shop: CreatedClient) -> None:
    ada.approve(ada.authorize().location)

    ada.submit(f"/account/revoke?client_id={shop.client_id}", {}, page_path="/account")

    assert REVOKED in ada.get("/account").text
    assert REVOKED not in ada.get("/account").text


@pytest.mark.parametrize("way", ["sign-out", "sign-out-everywhere"])
def test_signing_out_is_told(ada: Browser, way: str) -> None:
    told = ada.submit(f"/account/{way}", {}, page_path="/account")

    assert "You are signed out" in ada.get(told.location).text


def test_what_a_notice_says_is_ours(ada: Browser) -> None:
    ada.http.set_cookie("valetkey_notice", "Call this number")

    assert "Call this number" not in ada.get("/account").text
    assert ada.get("/account?notice=app-revoked").text.count(REVOKED) == 0


def test_each_field_says_what_is_wrong_with_it_and_the_note_does_not_say_it_again(
    app: Flask, shop: CreatedClient
) -> None:
    visitor = Browser(app.test_client(), shop)

    refused = visitor.sign_up(email="nonsense", password="short")

    assert refused.status_code == 400
    for words in ("Please check what is marked below", "like ada@example.org", "Choose a password of 10 to 200"):
        assert refused.text.count(words) == 1, words


def test_a_connected_app_is_listed_with_words_for_openid_too(register: Register, ada: Browser) -> None:
    ada.client = register(scope="openid profile")
    ada.approve(ada.authorize(scope="openid profile").location, scope=("openid", "profile"))

    assert "Know who you are" in ada.get("/account").text
    assert "openid" not in ada.get("/account").text


def test_who_signs_in_for_an_app_is_told_for_which(app: Flask, shop: CreatedClient) -> None:
    visitor = Browser(app.test_client(), shop)
    page = visitor.get(visitor.get(visitor.authorize().location).location).text

    assert "to go on to <bdi>Shop</bdi>" in page
    assert page.count("Sign in to") == 0


def test_a_mistake_of_the_app_is_told_as_one_and_logged_with_what_was_sent(
    ada: Browser, shop: CreatedClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    refused = ada.authorize(redirect_uri="https://other.example/back\n")

    assert "that it did not register (redirect_uri)" in refused.text
    assert "This is a mistake in the app, which got nothing of yours" in refused.text
    assert "try again" not in refused.text
    assert f"{shop.client_id} sent 'https://other.example/back\\n'" in caplog.text


def test_a_link_that_was_used_leads_to_the_sign_in(ada: Browser) -> None:
    over = ada.get("/account/mail/vk_ml_made_up")

    assert over.status_code == 400
    assert "This link is over" in over.text and 'href="/account/sign-in"' in over.text


def test_a_page_that_is_not_there_says_so_once(ada: Browser) -> None:
    page = ada.http.get("/oauth/nothing", headers={"Accept": "text/html"}).text

    assert page.count("There is no such page") == 2  # the title and the heading
    assert "nothing at this path" not in page
