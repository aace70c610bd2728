"""Where mail can be sent: sign-up with a proven address, another password for one that was forgotten, the claim."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import MakeApp, sign_in_new_account
from tests.support.browser_client import EMAIL, PASSWORD, Browser, Clock, count_rows
from valetkey.accounts import mail_links
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage import mail_links as stored
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import Transaction

OTHER = "a yellow ferry in may"


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str

    @property
    def path(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:8000(/account/mail/\S+)", self.text)
        assert found, self.text
        return found[1]


class Postman:
    """The worker, and what it sent."""

    def __init__(self, runtime: Runtime) -> None:
        self._worker = runtime.make_worker()
        self.sent: list[Mail] = []

    def send(self, settings: object, to: str, subject: str, text: str) -> None:
        self.sent.append(Mail(to, subject, text))

    def walk(self) -> list[Mail]:
        """Send what waits, and answer it."""
        self.sent.clear()
        self._worker.run_once()
        return list(self.sent)


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, mail_url="smtp://127.0.0.1:1")


@pytest.fixture
def postman(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Postman:
    made = Postman(runtime)
    monkeypatch.setattr(mail_links, "send_mail", made.send)
    return made


@pytest.fixture
def browser(app: Flask, shop: CreatedClient) -> Browser:
    return Browser(app.test_client(), shop)


def ask_to_sign_up(browser: Browser, email: str = EMAIL) -> TestResponse:
    return browser.submit("/account/sign-up", {"name": "Ada", "email": email})


def forget(browser: Browser, email: str = EMAIL) -> TestResponse:
    return browser.submit("/account/forgotten", {"email": email})


def test_an_account_is_made_by_whoever_reads_the_mail(browser: Browser, runtime: Runtime, postman: Postman) -> None:
    assert "Check your mail" in ask_to_sign_up(browser).text
    assert accounts.find_by_email(runtime.store, EMAIL) is None
    (mail,) = postman.walk()
    assert mail.to == EMAIL
    assert browser.get(mail.path).status_code == 200
    assert accounts.find_by_email(runtime.store, EMAIL) is None, "a program that opens links makes no account"

    done = browser.submit(mail.path, {"password": PASSWORD})

    assert (done.status_code, done.location) == (303, "/account")
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    assert account.email_verified_at == runtime.clock()
    assert "Your account" in browser.get("/account").text
    assert runtime.owners.claims  # our own
    with browser.http.application.test_request_context():
        assert runtime.owners.claims(account.sub, frozenset({"email"})) == {"email": EMAIL, "email_verified": True}


def test_signing_up_goes_on_to_what_it_began_with(browser: Browser, postman: Postman) -> None:
    waiting = browser.authorize().location
    browser.submit(f"/account/sign-up?next={waiting}", {"name": "Ada", "email": EMAIL, "next": waiting})
    (mail,) = postman.walk()

    assert browser.submit(mail.path, {"password": PASSWORD}).location == waiting


def test_a_link_is_good_once(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, postman: Postman
) -> None:
    ask_to_sign_up(browser)
    (mail,) = postman.walk()
    others = [Browser(app.test_client(), shop) for _ in range(3)]
    link = mail_links.get_link(mail.path.rpartition("/")[2], runtime, runtime.clock())

    told = [other.submit(mail.path, {"password": PASSWORD}).status_code for other in others]

    assert told == [303, 400, 400]
    assert runtime.write(Transaction(stored.mark_used(link.digest, runtime.clock()))) is False, (
        "who found it before has lost"
    )
    assert browser.get(mail.path).status_code == 400
    assert count_rows(runtime.store, "valetkey_accounts") == 1


def test_a_link_dies_after_its_hour(browser: Browser, runtime: Runtime, postman: Postman, clock: Clock) -> None:
    ask_to_sign_up(browser)
    (mail,) = postman.walk()
    clock.forward(3600)

    assert browser.get(mail.path).status_code == 400
    assert browser.submit(mail.path, {"password": PASSWORD}, page_path="/account/sign-in").status_code == 400
    assert count_rows(runtime.store, "valetkey_accounts") == 0


def test_only_the_digest_of_a_link_is_kept(browser: Browser, runtime: Runtime, postman: Postman) -> None:
    ask_to_sign_up(browser)
    (mail,) = postman.walk()
    secret = mail.path.rpartition("/")[2]
    from sqlalchemy import text

    for table in ("valetkey_mail_links", "valetkey_outbox", "valetkey_audit"):
        assert secret not in str(runtime.store.fetch_all(Statement(text(f"SELECT * FROM {table}"))()))


def test_who_asks_cannot_tell_whether_there_is_an_account(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, postman: Postman
) -> None:
    sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    nobody = "nobody@example.org"

    answers = {email: (ask_to_sign_up(browser, email), forget(browser, email)) for email in (EMAIL, nobody)}

    for known, unknown in zip(answers[EMAIL], answers[nobody], strict=True):
        assert known.status_code == unknown.status_code == 200
        assert known.text.replace(EMAIL, "@") == unknown.text.replace(nobody, "@")
    sent = postman.walk()
    assert sorted((mail.to, mail.subject.split()[0]) for mail in sent) == [
        (EMAIL, "A"),
        (EMAIL, "A"),
        (nobody, "Your"),
    ]
    assert sum("You have one already" in mail.text for mail in sent) == 1


def test_a_forgotten_password_is_replaced_and_all_sign_ins_end(
    browser: Browser, app: Flask, shop: CreatedClient, runtime: Runtime, postman: Postman
) -> None:
    thief = sign_in_new_account(Browser(app.test_client(), shop), runtime, EMAIL, "Ada")
    forget(browser)
    forget(browser)
    first, second = postman.walk()

    assert browser.submit(first.path, {"password": "short"}).status_code == 400
    assert browser.submit(first.path, {"password": OTHER}).status_code == 303

    assert thief.get("/account").status_code == 303
    assert browser.get(second.path).status_code == 400, "another link to the same address"
    again = Browser(app.test_client(), shop)
    assert again.sign_in(EMAIL, OTHER).status_code == 303
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    assert account.email_verified_at is not None


def test_a_disabled_account_gets_no_link(browser: Browser, ada: Browser, runtime: Runtime, postman: Postman) -> None:
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account is not None
    runtime.revoke(accounts.set_disabled(account.sub, runtime.clock()))
    forget(browser)
    ask_to_sign_up(browser)

    assert postman.walk() == []


def test_one_address_is_not_flooded_and_nobody_is_told(browser: Browser, ada: Browser, postman: Postman) -> None:
    told = {forget(browser).status_code for _ in range(8)}

    assert told == {200}
    assert len(postman.walk()) == 5


def test_one_network_cannot_write_to_everybody(browser: Browser, postman: Postman) -> None:
    told = [ask_to_sign_up(browser, f"p{number}@example.org").status_code for number in range(31)]

    assert told == [200] * 30 + [429]


def test_an_address_is_confirmed_from_the_account_page(ada: Browser, runtime: Runtime, postman: Postman) -> None:
    assert "send-verification" in ada.get("/account").text
    ada.submit("/account/verify", {}, page_path="/account")
    (mail,) = postman.walk()
    assert accounts.find(runtime.store, "ada").email_verified_at is None  # type: ignore[union-attr]

    assert "Address confirmed" in ada.submit(mail.path, {}).text

    assert accounts.find(runtime.store, "ada").email_verified_at == runtime.clock()  # type: ignore[union-attr]
    assert "send-verification" not in ada.get("/account").text


def test_without_mail_there_is_nothing_of_this(make_app: MakeApp, store_url: str, shop: CreatedClient) -> None:
    plain = Browser(make_app(store_url).test_client(), shop)

    assert plain.get("/account/forgotten").status_code == 404
    assert "Forgot" not in plain.get("/account/sign-in").text
    assert plain.sign_up().status_code == 303


def test_a_password_is_changed_by_whoever_knows_the_old_one(
    browser: Browser, app: Flask, shop: CreatedClient, postman: Postman
) -> None:
    ask_to_sign_up(browser)
    (mail,) = postman.walk()
    browser.submit(mail.path, {"password": PASSWORD})
    elsewhere = Browser(app.test_client(), shop)
    elsewhere.sign_in()

    wrong = browser.submit("/account/password", {"current": "not this one", "password": OTHER})
    assert wrong.status_code == 400
    assert elsewhere.get("/account").status_code == 200
    weak = browser.submit("/account/password", {"current": PASSWORD, "password": "short"})
    assert weak.status_code == 400
    changed = browser.submit("/account/password", {"current": PASSWORD, "password": OTHER})

    assert "Password changed" in changed.text
    assert browser.get("/account").status_code == 200
    assert elsewhere.get("/account").status_code == 303
    assert elsewhere.sign_in(EMAIL, PASSWORD).status_code == 400
    assert elsewhere.sign_in(EMAIL, OTHER).status_code == 303


def test_guesses_at_the_old_password_are_limited(ada: Browser) -> None:
    told = [
        ada.submit("/account/password", {"current": f"guess {n}", "password": OTHER}).status_code for n in range(11)
    ]
    assert told == [400] * 10 + [429]


def test_signing_out_everywhere(ada: Browser, app: Flask, shop: CreatedClient, runtime: Runtime) -> None:
    page = ada.get("/account").text
    assert "This browser" in page

    gone = ada.submit("/account/sign-out-everywhere", {}, page_path="/account")

    assert gone.location == "/account/sign-in"
    assert ada.get("/account").status_code == 303
    assert accounts.list_active_sessions(runtime.store, "ada", runtime.clock()) == []


@pytest.mark.parametrize("path", ["/account/sign-out-everywhere", "/account/verify"])
def test_a_form_from_elsewhere_does_nothing(ada: Browser, runtime: Runtime, path: str) -> None:
    assert ada.http.post(path).status_code == 400
    assert ada.get("/account").status_code == 200
