"""A user whose password an attacker has had takes the account back, in a real browser, with and without JavaScript."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.smtp_server import ReceivedMail, SmtpServer
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer

NEW_PASSWORD = "a yellow ferry in may"


@pytest.fixture
def mail_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, mail_server: SmtpServer) -> Iterator[RunningServer]:
    """A server with mail. Maya has an account, and signed in to it before."""
    deployment = Deployment(tmp_path, app=LIMITED_API_FILE, settings={"mail_url": mail_server.url})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        with User(EMAIL, PASSWORD) as maya:
            maya.sign_in(maya.get_page(f"{running.url}/account"))
        yield running


def wait_for_mail(mail_server: SmtpServer, subject: str) -> ReceivedMail:
    """Return the mail with this subject, once the worker has sent it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for mail in mail_server.received:
            if mail.message["Subject"] == subject:
                return mail
        time.sleep(0.1)
    raise AssertionError(f"no mail {subject!r} among {[mail.message['Subject'] for mail in mail_server.received]}")


def attack(server: RunningServer) -> tuple[str, str]:
    """Sign in with Maya's password, allow an app and create a personal access token; return both access tokens."""
    with ThirdPartyApp() as app:
        app.credentials = server.deployment.create_client(
            "web", name="Photo Backup", scope="profile", redirect_uris=[app.redirect_uri]
        )
        with User(EMAIL, PASSWORD) as attacker:
            callback = attacker.allow(app.start_authorization(server.metadata, scope="profile"))
            tokens = app.redeem(callback)
    created = server.deployment.run(
        "tokens", "create", "--user", EMAIL, "--name", "My laptop", "--scope", "profile", "--json"
    )
    return tokens["access_token"], str(json.loads(created)["token"])


def call(server: RunningServer, token: str) -> int:
    return httpx.get(f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_reset_ends_the_sessions_the_app_and_the_token_of_an_attacker(
    server: RunningServer, mail_server: SmtpServer, new_user_page: Page
) -> None:
    access_token, personal_token = attack(server)
    assert (call(server, access_token), call(server, personal_token)) == (200, 200)
    assert "Network: 127.0.0.1" in wait_for_mail(mail_server, "A sign-in from a new browser").message.get_content()

    page = new_user_page
    page.goto(f"{server.url}/account/forgotten")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_role("button").last.click()
    link = re.search(r"http://\S+/mail/\S+", _text(wait_for_mail(mail_server, _reset_subject(server))))
    assert link is not None
    page.goto(link[0])
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.click("#set-password")

    expect(page.get_by_role("heading", name="Access to your account")).to_be_visible()
    boxes = page.get_by_role("checkbox")
    expect(boxes).to_have_count(2)
    expect(boxes.and_(page.locator(":checked"))).to_have_count(2)
    expect(page.get_by_text("Photo Backup")).to_be_visible()
    expect(page.get_by_text("My laptop")).to_be_visible()
    assert "other sign-ins were ended" in _text(wait_for_mail(mail_server, "Your password was changed"))

    page.click("#end-access")

    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("can no longer use your account")
    assert (call(server, access_token), call(server, personal_token)) == (401, 401)


def test_a_user_who_leaves_the_page_finds_the_offer_on_the_account_page(
    server: RunningServer, new_user_page: Page
) -> None:
    _, personal_token = attack(server)
    server.deployment.run("users", "password", EMAIL, "--password-stdin", stdin=NEW_PASSWORD)
    page = new_user_page
    page.goto(f"{server.url}/account/sign-in")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(NEW_PASSWORD)
    page.click("#sign-in")
    assert call(server, personal_token) == 200

    page.click("#review-access")
    page.get_by_label("Photo Backup").uncheck()
    page.click("#end-access")

    expect(page.locator("#review-access")).to_have_count(0)
    expect(page.get_by_role("heading", name="Photo Backup")).to_be_visible()
    assert call(server, personal_token) == 401


def _text(mail: ReceivedMail) -> str:
    return str(mail.message.get_content())


def _reset_subject(server: RunningServer) -> str:
    return f"A new password for {server.issuer.removeprefix('http://')}"
