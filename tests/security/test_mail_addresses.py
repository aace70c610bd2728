"""The mailbox that receives a mail is the one that was limited and verified; nobody can stop or redirect mail."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser
from tests.support.smtp_server import SmtpServer
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey import Settings, SettingsError
from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.sign_up import create_account
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.cli.certificate import ensure_self_signed_certificate
from valetkey.outbound.errors import MailNotSent, MailRefused
from valetkey.outbound.mail import send_mail
from valetkey.protocol.email_address import is_email_address, normalize_email_address, parse_sender
from valetkey.runtime import Runtime
from valetkey.storage import accounts, outbox
from valetkey.storage.engine.transaction import Transaction

HOSTILE_ADDRESS = "=?utf-8?q?a=0Abcc=3Ax?=@example.org"
NOT_ADDRESSES = [
    *(HOSTILE_ADDRESS, "ada.=?utf-8?q?a?=@example.org", "ada=?x@example.org", "ada@=?utf-8?q?example?=.org"),
    *("a@b.example,c@d.example", "a@b.example;c@d.example", "a@b.example c@d.example", "Ada <ada@example.org>"),
    *('"ada"@example.org', '"a@b"@example.org', "(note)ada@example.org", "ada(note)@example.org", "ada@example.org."),
    *("ada\n@example.org", "ada@example.org\nbcc: eve@example.org", "ada\x00@example.org", "ada@example\x0b.org"),
    *("ad\u200ba@example.org", "\u202eada@example.org", "ada\u00a0@example.org", "ada@exam\u00adple.org"),
    *("ädä@example.org", "ada@müller.example", "ad\u0131@example.org", "\u212ada@example.org", "ad\u0130@example.org"),
    *("ada@[127.0.0.1]", "ada@127.0.0.1", "ada@localhost", "ada@-example.org", "ada@example-.org", "ada@a_b.example"),
    *("ada%eve.example@example.org", "eve.example!ada@example.org", "|sh@example.org", "ada@", "@example.org", "ada"),
    *(
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "ada@example..org",
        "ada@.org",
        "",
        "ada@example@b.org",
    ),
    *("a" * 65 + "@example.org", f"ada@{'a' * 64}.org", f"ada@{'a.' * 126}org"),
]
ADDRESSES = [
    *("ada@example.org", "Ada.Lovelace+shop@mail.example.org", "o'brien@example.ie", "a@xn--mller-kva.example"),
    *("ada_1/x=y?z@example.org", "a" * 64 + "@example.org", "ada@1and1.example", "-ada-@example.org"),
]


@pytest.fixture
def mail_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def app(make_app: MakeApp, store_url: str, mail_server: SmtpServer) -> Flask:
    return make_app(store_url, mail_url=mail_server.url, mail_limit="2/hour burst 2")


@pytest.fixture
def browser(app: Flask, shop: CreatedClient) -> Browser:
    return Browser(app.test_client(), shop)


def request_sign_up(browser: Browser, email: str, name: str = "Ada") -> int:
    return browser.submit("/account/sign-up", {"name": name, "email": email}).status_code


@pytest.mark.parametrize("address", NOT_ADDRESSES)
def test_an_address_that_a_mail_program_could_read_as_another_one_is_refused(address: str) -> None:
    assert not is_email_address(address)
    with pytest.raises(MailRefused):
        send_mail(Settings(mail_url="smtp://127.0.0.1:1"), address, "Hello", "Hello")


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_ordinary_address_is_accepted_and_is_the_one_in_the_header(address: str, mail_server: SmtpServer) -> None:
    send_mail(Settings(mail_url=mail_server.url), address, "Hello", "Hello")

    (mail,) = mail_server.received
    assert mail.recipients == [address]
    assert [to.addr_spec for to in mail.message["To"].addresses] == [address]


def test_a_letter_outside_ascii_is_not_lowered_to_the_address_of_another_mailbox() -> None:
    assert not is_email_address(normalize_email_address("\u212aim@example.org"))  # the Kelvin sign, k in lower case


@given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FFF), max_size=12), st.text('ab-.=?@\n"<>_', max_size=12))
def test_every_accepted_address_is_the_address_in_the_header(local: str, domain: str) -> None:
    address = normalize_email_address(f"{local}@{domain}.example")
    if is_email_address(address):
        message = EmailMessage()
        message["To"] = Address(addr_spec=address)
        assert [to.addr_spec for to in message["To"].addresses] == [address]
        assert message.as_bytes() == f"To: {address}\n\n".encode()


def test_a_sign_up_with_an_encoded_word_as_address_stops_no_mail(
    browser: Browser, runtime: Runtime, mail_server: SmtpServer, clean_log: pytest.LogCaptureFixture
) -> None:
    assert request_sign_up(browser, HOSTILE_ADDRESS) == 400
    assert request_sign_up(browser, EMAIL) == 200

    worker = runtime.make_worker()

    assert worker.run_once() == 1
    assert [mail.recipients for mail in mail_server.received] == [[EMAIL]]
    assert count_rows(runtime.store, "valetkey_outbox") == 0


@pytest.mark.parametrize("path", ["/account/sign-up", "/account/forgotten"])
@pytest.mark.parametrize("address", NOT_ADDRESSES)
def test_no_page_queues_mail_to_what_is_not_one_address(
    browser: Browser, runtime: Runtime, path: str, address: str
) -> None:
    assert browser.submit(path, {"name": "Ada", "email": address}).status_code == 400
    assert count_rows(runtime.store, "valetkey_outbox") == 0


@pytest.mark.parametrize("address", [HOSTILE_ADDRESS, "a@b.example,c@d.example", "ada@müller.example"])
def test_no_account_is_created_for_what_is_not_one_address(runtime: Runtime, address: str) -> None:
    with pytest.raises(SignInRefused, match="Enter an e-mail address"):
        create_account(runtime.store, runtime.clock(), name="Ada", email=address, password=PASSWORD)


def test_one_mailbox_has_one_limit_for_all_its_spellings_and_tags(
    browser: Browser, runtime: Runtime, mail_server: SmtpServer
) -> None:
    for email in ("ada@example.org", " ADA@Example.ORG ", "ada+1@example.org", "ada+2@example.org"):
        assert request_sign_up(browser, email) == 200
    assert request_sign_up(browser, "bob@example.org") == 200

    runtime.make_worker().run_once()

    recipients = [mail.recipients for mail in mail_server.received]
    assert sorted(recipients) == [["ada@example.org"], ["ada@example.org"], ["bob@example.org"]]


def test_the_account_has_the_address_to_which_the_link_was_sent(
    browser: Browser, runtime: Runtime, mail_server: SmtpServer
) -> None:
    request_sign_up(browser, " Ada+Shop@Example.ORG ")
    runtime.make_worker().run_once()
    (mail,) = mail_server.received
    match = re.search(r"(/account/mail/\S+)", mail.message.get_content())
    assert match

    browser.submit(match[1], {"password": PASSWORD})

    assert mail.recipients == ["ada+shop@example.org"]
    account = accounts.find_by_email(runtime.store, "ada+shop@example.org")
    assert account is not None
    assert account.email_verified_at == runtime.clock()


def test_a_name_with_an_encoded_word_does_not_suppress_the_notice_about_an_app(
    ada: Browser, runtime: Runtime, mail_server: SmtpServer
) -> None:
    """The client's name is in the subject; decoded, it would end the header."""
    subject = "=?utf-8?q?a=0Abcc=3Ax?= can now access your account"
    job = {"to": EMAIL, "subject": subject, "text": "You gave it access.\r\n.\r\nMAIL FROM:<eve@example.org>\n"}
    runtime.store.write(Transaction(rows=(outbox.add("mail", job, runtime.clock()),)))

    assert runtime.make_worker().run_once() == 1

    (mail,) = mail_server.received
    assert mail.recipients == [EMAIL]
    assert "a=0Abcc=3Ax" in mail.message["Subject"]
    assert "bcc" not in mail.message
    assert "MAIL FROM:<eve@example.org>" in mail.message.get_content()


def test_a_mail_has_the_headers_of_an_automatic_message_and_does_not_name_this_machine(mail_server: SmtpServer) -> None:
    settings = Settings(mail_url=mail_server.url, issuer="https://id.example.org", mail_from="Shöp <mail@example.org>")

    send_mail(settings, EMAIL, "Hallo Ädä", "Grüße\n" + "x" * 2000)

    (mail,) = mail_server.received
    message = mail.message
    assert (mail.client_name, mail.sender) == ("id.example.org", "mail@example.org")
    assert str(message["From"]) == "Shöp <mail@example.org>"
    assert message["Date"].datetime is not None
    assert re.fullmatch(r"<[^@<>\s]+@id\.example\.org>", message["Message-ID"])
    assert message["Auto-Submitted"] == "auto-generated"
    assert (message["Subject"], message["Content-Transfer-Encoding"]) == ("Hallo Ädä", "quoted-printable")
    assert message.get_content().startswith("Grüße\r\n")


@pytest.mark.parametrize(
    ("issuer", "domain"),
    [
        ("http://127.0.0.1:8000", "[127.0.0.1]"),
        ("http://[::1]:8000", "[IPv6:::1]"),
        ("https://id.example.org/auth", "id.example.org"),
    ],
)
def test_the_default_sender_is_at_the_issuers_host(mail_server: SmtpServer, issuer: str, domain: str) -> None:
    send_mail(Settings(mail_url=mail_server.url, issuer=issuer), EMAIL, "Hello", "Hello")

    (mail,) = mail_server.received
    assert (mail.sender, mail.client_name) == (f"valetkey@{domain}", domain)


@pytest.mark.parametrize(
    ("reply", "is_final"),
    [("550 no such mailbox", True), ("553 bad name", True), ("450 try later", False), ("530 sign in first", False)],
)
def test_only_a_final_reply_to_the_recipient_is_a_refusal(reply: str, is_final: bool) -> None:
    with SmtpServer(replies={EMAIL: reply}) as server, pytest.raises(MailNotSent) as raised:
        send_mail(Settings(mail_url=server.url), EMAIL, "Hello", "Hello")

    assert isinstance(raised.value, MailRefused) is is_final
    assert EMAIL not in str(raised.value)


def test_without_a_mail_server_no_mail_is_sent_to_a_server_on_this_machine() -> None:
    """Jobs may be queued from the time when there was a mail server."""
    with pytest.raises(MailNotSent, match="mail_url is not set"):
        send_mail(Settings(), EMAIL, "Hello", "Hello")


def test_credentials_are_sent_only_to_a_mail_server_whose_certificate_is_trusted(tmp_path: Path) -> None:
    certificate, key = ensure_self_signed_certificate(tmp_path, ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with SmtpServer(tls=context) as server:
        url = server.url.replace("//", "//ada:green-ferry@")
        with pytest.raises(MailNotSent, match="SSLCertVerificationError") as raised:
            send_mail(Settings(mail_url=url), EMAIL, "Hello", "Hello")
        assert server.received == []
        assert "green-ferry" not in str(raised.value)

        send_mail(Settings(mail_url=url, outbound_ca_file=str(certificate)), EMAIL, "Hello", "Hello")

        assert len(server.received) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("operator_mail", value) for value in (HOSTILE_ADDRESS, "a@b.example, c@d.example", "ops")),
        *(
            ("mail_from", value)
            for value in ("=?utf-8?q?a?= <a@b.example>", "Shop <shop>", "a@b.example\nBcc: c@d.example")
        ),
        *(("mail_url", value) for value in ("http://mail.example", "smtp://", "smtp://mail.example:port", "smtp://[")),
    ],
)
def test_mail_settings_that_cannot_be_used_are_refused(setting: str, value: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        Settings(**{setting: value})


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("mail@shop.example", ("", "mail@shop.example")),
        ("The Shop <mail@shop.example>", ("The Shop", "mail@shop.example")),
        ('"Shop, Inc." <mail@shop.example>', ("Shop, Inc.", "mail@shop.example")),
    ],
)
def test_a_sender_may_have_a_name(text: str, sender: tuple[str, str]) -> None:
    assert parse_sender(text) == sender
