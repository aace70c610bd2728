"""After a password reset or change, the user is asked to end what else has access: apps and personal access tokens."""

from __future__ import annotations

import re
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.user import PASSWORD
from valetkey.accounts import mail_links
from valetkey.accounts.password import hash_password
from valetkey.accounts.sign_up import create_account
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit

NEW_PASSWORD = "a yellow ferry in may"
ACCESS = "/account/access"


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    """An app with mail."""
    return make_app(store_url, mail_url="smtp://127.0.0.1:1", mail_limit="100/hour burst 100")


@pytest.fixture
def mails(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """The mails that were sent: to, subject and text."""
    sent: list[tuple[str, str, str]] = []
    monkeypatch.setattr("valetkey.outbound.mail.send_mail", lambda settings, *mail: sent.append(mail))
    return sent


def make_browser(app: Flask, client: CreatedClient, user_agent: str = "") -> Browser:
    """Return a new browser, without cookies."""
    http = app.test_client()
    http.environ_base["HTTP_USER_AGENT"] = user_agent
    return Browser(http, client)


@pytest.fixture
def ada(app: Flask, runtime: Runtime, shop: CreatedClient) -> Browser:
    """The browser of Ada, who has signed in with her password."""
    return sign_in_ada(app, shop)


def sign_in_ada(app: Flask, client: CreatedClient) -> Browser:
    """Create Ada's account and sign in to it for the first time; return her browser."""
    create_account(
        app.extensions["valetkey"].store, app.extensions["valetkey"].clock(), name="Ada", email=EMAIL, password=PASSWORD
    )
    browser = make_browser(app, client)
    assert browser.sign_in().status_code == 303
    return browser


def run_command(app: Flask, *arguments: str, stdin: str) -> None:
    """Run a ``valetkey`` command for the app."""
    group = FlaskGroup(create_app=lambda: app)
    result = CliRunner().invoke(group, ["valetkey", *arguments], input=stdin)
    assert result.exit_code == 0, result.output


def deliver_mail(app: Flask) -> None:
    """Let the app's worker send the mails in the outbox."""
    app.extensions.setdefault("worker", app.extensions["valetkey"].make_worker()).run_once()


def create_token(runtime: Runtime, name: str = "Backup") -> str:
    """Create a personal access token of Ada, as an attacker with her password could; return its value."""
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    spec = TokenSpec(name, frozenset({"profile"}), runtime.clock() + 86400)
    return create_personal_token(spec, Owner(account.sub), runtime, runtime.clock(), None).secret.reveal()


def reset_password(app: Flask, browser: Browser, mails: list[tuple[str, str, str]]) -> Any:
    """Reset Ada's password by a mailed link in this browser, and return the response to the new password."""
    browser.submit("/account/forgotten", {"email": EMAIL})
    deliver_mail(app)
    return browser.submit(last_link(mails), {"password": NEW_PASSWORD})


def last_link(mails: list[tuple[str, str, str]]) -> str:
    """Return the path of the last mailed link. Mails of two kinds are sent at once, in any order."""
    return [link for mail in mails for link in re.findall(r"8000(/account/mail/\S+)", mail[2])][-1]


def find_boxes(page: str) -> dict[str, bool]:
    """Return whether each checkbox of the page is ticked, by its value."""
    boxes = re.findall(r'<input type="checkbox" name="(?:app|token)" value="([^"]+)"[^>]*>', page)
    return {value: "checked" in re.findall(rf'value="{value}"[^>]*>', page)[0] for value in boxes}


def call(app: Flask, token: str) -> int:
    return app.test_client().get("/api/protected", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_reset_leads_to_a_list_of_tokens_and_apps_that_are_all_ticked_and_can_be_ended(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient
) -> None:
    tokens = ada.obtain_tokens()
    stolen = create_token(runtime)
    browser = make_browser(app, shop)

    response = reset_password(app, browser, mails)

    assert (response.status_code, response.location) == (303, ACCESS)
    page = browser.get(ACCESS).text
    boxes = find_boxes(page)
    assert len(boxes) == 2 and all(boxes.values()) and shop.client_id in boxes
    assert "All earlier sign-ins were ended" in page and "You are signed in only here." in page
    assert ada.get("/account").status_code == 303, "the session from before must have ended"
    assert call(app, stolen) == 200, "the page says that it still works"

    token_ids = [value for value in boxes if value != shop.client_id]
    ended = browser.submit(ACCESS, {"decision": "end", "app": shop.client_id, "token": token_ids})

    assert (ended.status_code, ended.location) == (303, "/account")
    assert (call(app, stolen), call(app, tokens["access_token"])) == (401, 401)
    assert ada.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert find_boxes(browser.get(ACCESS).text) == {}
    assert {"consent.revoked", "personal_token.revoked"} <= {
        entry.row.event for entry in audit.list_latest(runtime.store, 50)
    }


def test_a_token_that_is_created_while_the_new_password_is_hashed_is_ticked_too(
    app: Flask,
    ada: Browser,
    runtime: Runtime,
    mails: list[tuple[str, str, str]],
    shop: CreatedClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attacker's session lives until the reset is written, and hashing can take long before."""

    def hash_slowly(password: str) -> str:
        clock.forward(2)
        create_token(runtime)
        return hash_password(password)

    monkeypatch.setattr(mail_links, "hash_password", hash_slowly)
    browser = make_browser(app, shop)
    reset_password(app, browser, mails)

    assert list(find_boxes(browser.get(ACCESS).text).values()) == [True]
    assert 'id="review-access"' in browser.get("/account").text


def test_the_offer_stays_open_on_the_account_page_in_every_browser_until_it_is_answered(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient
) -> None:
    create_token(runtime)
    reset_password(app, make_browser(app, shop), mails)  # this browser is then closed
    later = make_browser(app, shop)
    later.sign_in(password=NEW_PASSWORD)

    assert 'id="review-access"' in later.get("/account").text
    assert all(find_boxes(later.get(ACCESS).text).values())

    later.submit(ACCESS, {"decision": "keep"})

    assert 'id="review-access"' not in later.get("/account").text
    assert list(find_boxes(later.get(ACCESS).text).values()) == [False]


def test_a_reset_by_a_sign_up_link_that_goes_to_an_app_does_not_skip_the_offer(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient
) -> None:
    create_token(runtime)
    browser = make_browser(app, shop)
    consent_path = browser.authorize().location
    browser.submit("/account/sign-up", {"name": "Ada", "email": EMAIL, "next": consent_path})
    deliver_mail(app)
    path = last_link(mails)

    response = browser.submit(path, {"password": NEW_PASSWORD})

    assert response.location.startswith(f"{ACCESS}?next=")
    assert browser.submit(response.location, {"decision": "keep", "next": consent_path}).location == consent_path


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_page_does_not_continue_at_another_site(ada: Browser, path: str) -> None:
    assert ada.submit(ACCESS, {"decision": "keep", "next": path}).location == "/account"
    assert "evil" not in ada.get(ACCESS, query_string={"next": path}).text


def test_a_change_of_the_password_lists_the_same_and_ticks_nothing(
    app: Flask, ada: Browser, runtime: Runtime, shop: CreatedClient
) -> None:
    ada.obtain_tokens()
    create_token(runtime)
    other = make_browser(app, shop)
    other.sign_in()

    changed = ada.submit("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD})

    assert (changed.status_code, changed.location) == (303, ACCESS)
    page = ada.get(ACCESS).text
    assert list(find_boxes(page).values()) == [False, False]
    assert "You are signed in only here." in page
    assert other.get("/account").status_code == 303
    assert 'id="review-access"' not in ada.get("/account").text


def test_a_password_set_by_the_operator_opens_the_offer_and_mails_the_user(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]]
) -> None:
    create_token(runtime)

    run_command(app, "users", "password", EMAIL, "--password-stdin", stdin=NEW_PASSWORD)
    deliver_mail(app)
    assert "By: the operator of the site" in mails[-1][2]
    ada.sign_in(password=NEW_PASSWORD)
    assert 'id="review-access"' in ada.get("/account").text


def test_the_sentence_counts_the_other_sign_ins(app: Flask, ada: Browser, shop: CreatedClient) -> None:
    for _ in range(2):
        make_browser(app, shop).sign_in()

    page = ada.get(ACCESS).text

    assert "You are signed in here, and in 2 other browsers." in page
    assert "No app and no token can use your account." in page


def test_the_ids_of_another_user_are_ignored(app: Flask, ada: Browser, runtime: Runtime, shop: CreatedClient) -> None:
    stolen, tokens = create_token(runtime), ada.obtain_tokens()
    token_id = next(iter(set(find_boxes(ada.get(ACCESS).text)) - {shop.client_id}))
    eve = sign_in_new_account(make_browser(app, shop), runtime, "eve@example.org", "Eve")

    eve.submit(ACCESS, {"decision": "end", "app": shop.client_id, "token": token_id})

    assert (call(app, stolen), call(app, tokens["access_token"])) == (200, 200)


def test_the_form_needs_its_csrf_token_and_a_session(app: Flask, ada: Browser, runtime: Runtime) -> None:
    stolen = create_token(runtime)
    token_id = next(iter(find_boxes(ada.get(ACCESS).text)))

    forged = ada.http.post(ACCESS, data={"decision": "end", "token": token_id})
    stranger = app.test_client().get(ACCESS)

    assert forged.status_code == 400
    assert (stranger.status_code, stranger.location.split("?")[0]) == (303, "/account/sign-in")
    assert call(app, stolen) == 200


@pytest.mark.parametrize("fields", [{"decision": "end"}, {"decision": "x"}, {}])
def test_a_form_without_a_choice_is_shown_again(ada: Browser, runtime: Runtime, fields: dict[str, str]) -> None:
    create_token(runtime)

    assert ada.submit(ACCESS, fields).status_code == 400


def test_a_password_change_is_mailed_with_time_network_and_browser_but_no_text_of_the_caller(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]]
) -> None:
    agent = "Mozilla/5.0 (Windows NT 10.0) Firefox/130.0 visit http://evil.example\x0b"
    ada.http.environ_base["HTTP_USER_AGENT"] = agent

    ada.submit("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD})
    deliver_mail(app)

    [(to, subject, text)] = mails
    assert (to, subject) == (EMAIL, "Your password was changed")
    assert "Network: 127.0.0.1\nBrowser: Firefox on Windows\n" in text
    assert "Time: 2030-03-17 17:46 UTC" in text and "/account/access" in text
    assert "evil" not in text


def test_a_sign_in_from_a_new_browser_is_mailed_and_one_from_a_known_browser_is_not(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient
) -> None:
    ada.submit("/account/sign-out", {}, "/account")
    ada.sign_in()
    deliver_mail(app)
    assert mails == []

    make_browser(app, shop, "curl/8").sign_in()
    deliver_mail(app)

    [(to, subject, text)] = mails
    assert (to, subject) == (EMAIL, "A sign-in from a new browser")
    assert "Browser: an unknown browser" in text and "/account/forgotten" in text


def test_the_first_sign_in_to_an_account_of_the_operator_is_not_mailed_and_the_second_is(
    app: Flask, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient, clock: Clock
) -> None:
    run_command(app, "users", "create", "--email", EMAIL, "--password-stdin", stdin=PASSWORD)

    for expected in (0, 1):
        make_browser(app, shop).sign_in()
        deliver_mail(app)
        assert len(mails) == expected


def test_a_dormant_account_is_not_taken_for_one_that_nobody_ever_signed_in_to(
    app: Flask, ada: Browser, runtime: Runtime, mails: list[tuple[str, str, str]], shop: CreatedClient, clock: Clock
) -> None:
    clock.forward(200 * 86400)  # the sessions are pruned
    deliver_mail(app)

    make_browser(app, shop).sign_in()
    deliver_mail(app)

    assert [subject for _, subject, _ in mails] == ["A sign-in from a new browser"]


def test_many_sign_ins_send_no_more_mails_than_the_limit_and_do_not_hide_a_password_change(
    make_app: MakeApp, store_url: str, shop: CreatedClient, mails: list[tuple[str, str, str]]
) -> None:
    app = make_app(store_url, mail_url="smtp://127.0.0.1:1", mail_limit="2/hour burst 2")
    ada = sign_in_ada(app, shop)
    for _ in range(5):
        assert make_browser(app, shop).sign_in().status_code == 303
    for _ in range(3):
        ada.submit("/account/forgotten", {"email": EMAIL})

    ada.submit("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD})
    deliver_mail(app)

    subjects = [subject for _, subject, _ in mails]
    assert subjects.count("A sign-in from a new browser") == 2
    assert subjects.count("Your password was changed") == 1


def test_without_a_mail_server_signing_in_and_changing_the_password_work(
    make_app: MakeApp, store_url: str, shop: CreatedClient
) -> None:
    app = make_app(store_url)
    ada = sign_in_ada(app, shop)

    assert make_browser(app, shop).sign_in().status_code == 303
    assert ada.submit("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD}).status_code == 303
