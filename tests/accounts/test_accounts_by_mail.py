"""Accounts with mail configured: sign-up, password reset and verification of the address by mailed links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, hidden_fields, sign_in_new_account
from tests.support.clock import Clock
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey.accounts import mail_links
from valetkey.accounts.password import hash_password
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.rate_limiting.limiter import Limiter, LimitResult
from valetkey.runtime import Runtime
from valetkey.storage import accounts, idempotency_keys, sessions
from valetkey.storage import mail_links as stored
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import Transaction

NEW_PASSWORD = "a yellow ferry in may"


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str

    @property
    def path(self) -> str:
        """The path of the link in the mail."""
        match = re.search(r"http://127\.0\.0\.1:8000(/account/mail/\S+)", self.text)
        assert match, self.text
        return match[1]


class MailWorker:
    """The worker, with the mails that it sent."""

    def __init__(self, runtime: Runtime) -> None:
        self._worker = runtime.make_worker()
        self.sent: list[Mail] = []

    def send(self, settings: object, to: str, subject: str, text: str) -> None:
        self.sent.append(Mail(to, subject, text))

    def run(self) -> list[Mail]:
        """Send the mails in the outbox and return them."""
        self.sent.clear()
        self._worker.run_once()
        return list(self.sent)


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, mail_url="smtp://127.0.0.1:1")


@pytest.fixture
def mail_worker(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> MailWorker:
    worker = MailWorker(runtime)
    monkeypatch.setattr("valetkey.outbound.mail.send_mail", worker.send)
    return worker


@pytest.fixture
def browser(app: Flask, shop: CreatedClient) -> Browser:
    return Browser(app.test_client(), shop)


def find_account(runtime: Runtime, sub: str) -> accounts.Account:
    account = accounts.find(runtime.store, sub)
    assert account is not None
    return account


def request_sign_up(browser: Browser, email: str = EMAIL) -> TestResponse:
    return browser.submit("/account/sign-up", {"name": "Ada", "email": email})


def request_password_reset(browser: Browser, email: str = EMAIL) -> TestResponse:
    return browser.submit("/account/forgotten", {"email": email})


def test_an_account_is_created_when_a_password_is_chosen_with_the_mailed_link(
    browser: Browser, runtime: Runtime, mail_worker: MailWorker
) -> None:
    assert "Check your mail" in request_sign_up(browser).text
    assert accounts.find_by_email(runtime.store, EMAIL) is None
    (mail,) = mail_worker.run()
    assert mail.to == EMAIL
    assert browser.get(mail.path).status_code == 200
    assert accounts.find_by_email(runtime.store, EMAIL) is None, "a program that opens links must not create an account"

    created = browser.submit(mail.path, {"password": PASSWORD})

    assert (created.status_code, created.location) == (303, "/account")
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    assert account.email_verified_at == runtime.clock()
    assert "Your account" in browser.get("/account").text
    assert runtime.owners.claims  # the built-in accounts are used
    with browser.http.application.test_request_context():
        assert runtime.owners.claims(account.sub, frozenset({"email"})) == {"email": EMAIL, "email_verified": True}


def test_sign_up_by_mail_continues_with_the_authorization_request(browser: Browser, mail_worker: MailWorker) -> None:
    consent_url = browser.authorize().location
    browser.submit(f"/account/sign-up?next={consent_url}", {"name": "Ada", "email": EMAIL, "next": consent_url})
    (mail,) = mail_worker.run()

    assert browser.submit(mail.path, {"password": PASSWORD}).location == consent_url


def test_a_link_can_be_used_once(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, mail_worker: MailWorker
) -> None:
    request_sign_up(browser)
    (mail,) = mail_worker.run()
    browsers = [Browser(app.test_client(), shop) for _ in range(3)]
    link = mail_links.get_link(mail.path.rpartition("/")[2], runtime.store, runtime.clock())

    statuses = [other.submit(mail.path, {"password": PASSWORD}).status_code for other in browsers]

    assert statuses == [303, 400, 400]
    assert runtime.store.write(Transaction(stored.mark_used(link, runtime.clock()))) is False, (
        "a request that read the link before it was used must lose too"
    )
    assert browser.get(mail.path).status_code == 400
    assert count_rows(runtime.store, "valetkey_accounts") == 1


def test_a_link_expires_after_an_hour(
    browser: Browser, runtime: Runtime, mail_worker: MailWorker, clock: Clock
) -> None:
    request_sign_up(browser)
    (mail,) = mail_worker.run()
    clock.forward(3600)

    assert browser.get(mail.path).status_code == 400
    assert browser.submit(mail.path, {"password": PASSWORD}, page_path="/account/sign-in").status_code == 400
    assert count_rows(runtime.store, "valetkey_accounts") == 0


def test_only_the_digest_of_a_link_is_stored(browser: Browser, runtime: Runtime, mail_worker: MailWorker) -> None:
    request_sign_up(browser)
    (mail,) = mail_worker.run()
    secret = mail.path.rpartition("/")[2]
    from sqlalchemy import text

    for table in ("valetkey_mail_links", "valetkey_outbox", "valetkey_audit"):
        assert secret not in str(runtime.store.fetch_all(Statement(text(f"SELECT * FROM {table}"))()))


def test_the_response_to_a_request_for_a_link_does_not_reveal_whether_there_is_an_account(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, mail_worker: MailWorker
) -> None:
    sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    unused_email = "unused@example.org"

    responses = {
        email: (request_sign_up(browser, email), request_password_reset(browser, email))
        for email in (EMAIL, unused_email)
    }

    for registered, unregistered in zip(responses[EMAIL], responses[unused_email], strict=True):
        assert registered.status_code == unregistered.status_code == 200
        assert registered.text.replace(EMAIL, "@") == unregistered.text.replace(unused_email, "@")
    mails = mail_worker.run()
    assert sorted((mail.to, mail.subject.split()[0]) for mail in mails) == [
        (EMAIL, "A"),
        (EMAIL, "A"),
        (unused_email, "Your"),
    ]
    assert sum("you already have one" in mail.text for mail in mails) == 1


def test_a_password_reset_ends_all_sessions_and_invalidates_other_links(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, mail_worker: MailWorker
) -> None:
    thief = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    request_password_reset(browser)
    request_password_reset(browser)
    first, second = mail_worker.run()

    assert browser.submit(first.path, {"password": "short"}).status_code == 400
    assert browser.submit(first.path, {"password": NEW_PASSWORD}).status_code == 303

    assert thief.get("/account").status_code == 303
    assert browser.get(second.path).status_code == 400, "another link to the same address is invalid now"
    new_browser = Browser(app.test_client(), shop)
    assert new_browser.sign_in(EMAIL, NEW_PASSWORD).status_code == 303
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    assert account.email_verified_at is not None


def test_a_disabled_account_gets_no_link(
    browser: Browser, ada: Browser, runtime: Runtime, mail_worker: MailWorker
) -> None:
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    runtime.store.write_all(accounts.set_disabled(account.sub, runtime.clock()))
    request_password_reset(browser)
    request_sign_up(browser)

    assert mail_worker.run() == []


def test_mails_to_one_address_are_limited_without_an_error(
    browser: Browser, ada: Browser, mail_worker: MailWorker
) -> None:
    statuses = {request_password_reset(browser).status_code for _ in range(8)}

    assert statuses == {200}
    assert len(mail_worker.run()) == 5


def test_mails_requested_from_one_network_are_limited(browser: Browser, mail_worker: MailWorker) -> None:
    statuses = [request_sign_up(browser, f"p{number}@example.org").status_code for number in range(31)]

    assert statuses == [200] * 30 + [429]


def test_an_address_is_verified_with_a_link_from_the_account_page(
    ada: Browser, runtime: Runtime, mail_worker: MailWorker
) -> None:
    assert "send-verification" in ada.get("/account").text
    ada.submit("/account/verify", {}, page_path="/account")
    (mail,) = mail_worker.run()
    assert find_account(runtime, "ada").email_verified_at is None

    assert "Address confirmed" in ada.submit(mail.path, {}).text

    assert find_account(runtime, "ada").email_verified_at == runtime.clock()
    assert "send-verification" not in ada.get("/account").text


def test_without_mail_configured_there_is_no_password_reset_and_sign_up_needs_no_link(
    make_app: MakeApp, store_url: str, shop: CreatedClient
) -> None:
    browser = Browser(make_app(store_url).test_client(), shop)

    assert browser.get("/account/forgotten").status_code == 404
    assert "Forgot" not in browser.get("/account/sign-in").text
    assert browser.sign_up().status_code == 303


def test_a_password_change_needs_the_old_password_and_ends_all_other_sessions(
    browser: Browser, app: Flask, shop: CreatedClient, mail_worker: MailWorker
) -> None:
    request_sign_up(browser)
    (mail,) = mail_worker.run()
    browser.submit(mail.path, {"password": PASSWORD})
    other_browser = Browser(app.test_client(), shop)
    other_browser.sign_in()

    wrong = browser.submit("/account/password", {"current": "not this one", "password": NEW_PASSWORD})
    assert wrong.status_code == 400
    assert other_browser.get("/account").status_code == 200
    weak = browser.submit("/account/password", {"current": PASSWORD, "password": "short"})
    assert weak.status_code == 400
    changed = browser.submit("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD})

    assert (changed.status_code, changed.location) == (303, "/account/access")
    assert browser.get("/account").status_code == 200
    assert other_browser.get("/account").status_code == 303
    assert other_browser.sign_in(EMAIL, PASSWORD).status_code == 400
    assert other_browser.sign_in(EMAIL, NEW_PASSWORD).status_code == 303


def test_wrong_old_passwords_are_limited(ada: Browser, runtime: Runtime) -> None:
    runtime.store.write_all(accounts.set_password("ada", hash_password(PASSWORD)))

    statuses = [
        ada.submit("/account/password", {"current": f"guess {n}", "password": NEW_PASSWORD}).status_code
        for n in range(11)
    ]
    assert statuses == [400] * 10 + [429]


def test_sign_out_everywhere_ends_all_sessions(ada: Browser, app: Flask, shop: CreatedClient, runtime: Runtime) -> None:
    page = ada.get("/account").text
    assert "This browser" in page

    signed_out = ada.submit("/account/sign-out-everywhere", {}, page_path="/account")

    assert signed_out.location == "/account/sign-in"
    assert ada.get("/account").status_code == 303
    assert sessions.list_active(runtime.store, "ada", runtime.clock()) == []


@pytest.mark.parametrize("path", ["/account/sign-out-everywhere", "/account/verify"])
def test_forms_of_the_account_page_need_a_csrf_token(ada: Browser, runtime: Runtime, path: str) -> None:
    assert ada.http.post(path).status_code == 400
    assert ada.get("/account").status_code == 200


def test_an_address_that_the_account_has_lost_meanwhile_cannot_be_verified(
    ada: Browser, runtime: Runtime, mail_worker: MailWorker
) -> None:
    page = ada.get("/account").text
    runtime.store.write(Transaction(accounts.remove_unverified_email("ada", EMAIL)))

    refused = ada.post("/account/verify", csrf_token=hidden_fields(page)["csrf_token"])

    assert refused.status_code == 400
    assert "No mail was sent" in refused.text
    assert "Your account has no e-mail address any more" in refused.text
    assert mail_worker.run() == []


def test_too_many_mails_from_the_account_page_can_be_tried_again_later(ada: Browser) -> None:
    for number in range(30):
        request_sign_up(ada, f"p{number}@example.org")

    refused = ada.submit("/account/verify", {}, page_path="/account")

    assert (refused.status_code, "Too many mails" in refused.text) == (429, True)
    assert int(refused.headers["Retry-After"]) > 0


def submit_with_id(browser: Browser, submission: str, email: str = EMAIL) -> TestResponse:
    return browser.submit("/account/forgotten", {"email": email, "submission": submission})


def test_a_form_that_is_submitted_again_within_a_minute_sends_no_second_mail(
    browser: Browser, ada: Browser, mail_worker: MailWorker, clock: Clock
) -> None:
    first, second = submit_with_id(browser, "s" * 22), submit_with_id(browser, "s" * 22)

    assert first.text == second.text
    assert len(mail_worker.run()) == 1
    submit_with_id(browser, "s" * 22)
    assert mail_worker.run() == [], "the first mail was sent meanwhile"
    clock.forward(61)
    submit_with_id(browser, "s" * 22)
    assert len(mail_worker.run()) == 1


def test_the_second_submission_of_a_form_is_not_counted(
    browser: Browser, ada: Browser, mail_worker: MailWorker, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        submit_with_id(browser, f"{number}" * 22)
        submit_with_id(browser, f"{number}" * 22)
    # Both requests run at the same time: the second one does not see the first one before it writes.
    monkeypatch.setattr(idempotency_keys, "is_reserved", lambda *_: False)
    submit_with_id(browser, "3" * 22)
    submit_with_id(browser, "4" * 22)

    assert len(mail_worker.run()) == 5


def test_a_form_with_another_address_or_of_another_browser_sends_its_own_mail(
    browser: Browser, ada: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, mail_worker: MailWorker
) -> None:
    sign_in_new_account(Browser(app.test_client(), shop), runtime, "grace@example.org", "Grace")

    submit_with_id(browser, "s" * 22)
    submit_with_id(browser, "s" * 22, "grace@example.org")
    submit_with_id(Browser(app.test_client(), shop), "s" * 22)

    assert sorted(mail.to for mail in mail_worker.run()) == [EMAIL, EMAIL, "grace@example.org"]


def test_no_counter_is_named_after_an_e_mail_address(
    browser: Browser, app: Flask, shop: CreatedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    spend = Limiter.spend

    def record(limiter: Limiter, key: str, *arguments: Any) -> LimitResult:
        keys.append(key)
        return spend(limiter, key, *arguments)

    monkeypatch.setattr(Limiter, "spend", record)

    request_sign_up(browser)
    request_password_reset(browser)
    browser.sign_in()

    assert any(key.startswith("mail_limit") for key in keys)
    assert any(key.startswith("sign_in_account_limit") for key in keys)
    assert [key for key in keys if "@" in key or "ada" in key.lower()] == []
