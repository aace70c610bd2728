"""Notices: a successful action is reported once on the next page; an error page says what is wrong and what to do."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import Browser
from valetkey.authorization_server.clients.service import CreatedClient

REVOKED = "The app can no longer use your account."


def test_after_revoking_an_app_only_the_next_page_has_a_notice(ada: Browser, shop: CreatedClient) -> None:
    ada.approve(ada.authorize().location)

    ada.submit(f"/account/revoke?client_id={shop.client_id}", {}, page_path="/account")

    assert REVOKED in ada.get("/account").text
    assert REVOKED not in ada.get("/account").text


@pytest.mark.parametrize("action", ["sign-out", "sign-out-everywhere"])
def test_after_signing_out_the_next_page_has_a_notice(ada: Browser, action: str) -> None:
    signed_out = ada.submit(f"/account/{action}", {}, page_path="/account")

    assert "You are signed out" in ada.get(signed_out.location).text


def test_the_text_of_a_notice_cannot_be_set_by_cookie_or_url(ada: Browser) -> None:
    ada.http.set_cookie("valetkey_notice", "Call this number")

    assert "Call this number" not in ada.get("/account").text
    assert ada.get("/account?notice=app-revoked").text.count(REVOKED) == 0


def test_each_invalid_field_has_its_error_message_once(app: Flask, shop: CreatedClient) -> None:
    browser = Browser(app.test_client(), shop)

    refused = browser.sign_up(email="nonsense", password="short")

    assert refused.status_code == 400
    for words in ("Please correct the marked fields", "like ada@example.org", "Choose a password of 10 to 200"):
        assert refused.text.count(words) == 1, words


def test_a_connected_app_is_listed_with_a_description_of_openid(register: Register, ada: Browser) -> None:
    ada.client = register(scope="openid profile")
    ada.approve(ada.authorize(scope="openid profile").location, scope=("openid", "profile"))

    assert "Know who you are" in ada.get("/account").text
    assert "openid" not in ada.get("/account").text


def test_the_sign_in_page_names_the_app_that_requested_authorization(app: Flask, shop: CreatedClient) -> None:
    browser = Browser(app.test_client(), shop)
    page = browser.get(browser.get(browser.authorize().location).location).text

    assert "to continue to <bdi>Shop</bdi>" in page
    assert page.count("Sign in to") == 0


def test_an_unregistered_redirect_uri_is_shown_as_a_mistake_of_the_app_and_logged(
    ada: Browser, shop: CreatedClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    refused = ada.authorize(redirect_uri="https://other.example/back\n")

    assert "is not registered (redirect_uri)" in refused.text
    assert "This is an error of the app, which did not get access" in refused.text
    assert "try again" not in refused.text
    assert f"{shop.client_id} sent 'https://other.example/back\\n'" in caplog.text


def test_the_page_of_an_invalid_mail_link_links_to_the_sign_in(app: Flask) -> None:
    page = app.test_client().get("/account/mail/vk_ml_made_up")

    assert page.status_code == 400
    assert "This link has expired or was already used" in page.text and 'href="/account/sign-in"' in page.text


def test_the_access_page_names_no_new_password_if_none_was_set(ada: Browser) -> None:
    ada.obtain_tokens()

    page = ada.get("/account/access").text

    assert "These can use your account without your password:" in page and "new password" not in page


def test_the_404_page_has_no_text_for_programs(ada: Browser) -> None:
    page = ada.http.get("/oauth/nothing", headers={"Accept": "text/html"}).text

    assert page.count("Page not found") == 2  # the title and the heading
    assert "nothing at this path" not in page
