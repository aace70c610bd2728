"""A slow mail server holds a worker for a limited time, and gets no mail twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.clock import NOW
from tests.support.hostile_server import create_server_certificate
from tests.support.smtp_server import SmtpServer
from valetkey.outbound import smtp_connection
from valetkey.outbound.errors import MailNotSent
from valetkey.outbound.mail import send_mail
from valetkey.settings import Settings
from valetkey.storage import outbox
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import Transaction

TIMEOUT_S = 1.0


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_connection, "COMMANDS_TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr(smtp_connection, "MESSAGE_TIMEOUT_S", TIMEOUT_S)


@contextmanager
def assert_ends_within(limit_s: float) -> Iterator[None]:
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < limit_s


def send_hello(server: SmtpServer, **settings: str) -> None:
    send_mail(Settings(**{"mail_url": server.url, **settings}), "ada@example.org", "Hello", "Hello")


@pytest.mark.parametrize("verb", ["", "EHLO", "MAIL", "RCPT"])
def test_a_mail_is_not_sent_if_the_replies_to_the_commands_take_too_long_together(verb: str) -> None:
    delays_s = {"": 0.3, "EHLO": 0.3, "MAIL": 0.3, "RCPT": 0.3} | {verb: 0.6}
    with SmtpServer(delays_s=delays_s) as server:
        with assert_ends_within(2 * TIMEOUT_S), pytest.raises(MailNotSent):
            send_hello(server)
        assert server.received == []


def test_a_reply_that_arrives_byte_by_byte_ends_at_the_deadline() -> None:
    with SmtpServer(byte_delay_s=0.1) as server, assert_ends_within(2 * TIMEOUT_S), pytest.raises(MailNotSent):
        send_hello(server)


def test_a_reply_that_arrives_byte_by_byte_over_tls_ends_at_the_deadline(tmp_path: Path) -> None:
    tls, ca_file = create_server_certificate(tmp_path, ["localhost"])
    with SmtpServer(tls=tls, byte_delay_s=0.012) as server:
        url = f"smtp://ada:secret@localhost:{server.port}"
        with assert_ends_within(2 * TIMEOUT_S), pytest.raises(MailNotSent):
            send_hello(server, mail_url=url, outbound_ca_file=str(ca_file))
        assert server.received == []


def test_the_message_has_a_time_limit_of_its_own() -> None:
    slow = {"": 0.2, "EHLO": 0.2, "MAIL": 0.2, "DATA": 0.6}
    with SmtpServer(delays_s=slow) as server:
        send_hello(server)
        assert len(server.received) == 1


def test_a_mail_that_was_accepted_is_sent_although_the_reply_to_quit_is_late() -> None:
    with SmtpServer(delays_s={"QUIT": 5}) as server:
        with assert_ends_within(2):
            send_hello(server)
        assert len(server.received) == 1


def test_no_other_worker_gets_the_job_before_a_mail_has_timed_out(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    longest_s = smtp_connection.COMMANDS_TIMEOUT_S + smtp_connection.MESSAGE_TIMEOUT_S
    with closing(open_store(store_url)) as store:
        job = {"to": "ada@example.org", "subject": "Hello", "text": "Hello"}
        store.write(Transaction(rows=(outbox.add("mail", job, NOW),)))
        (added,) = outbox.list_all(store, 10)
        assert store.write(Transaction(condition=outbox.acquire(added.job_id, NOW)))

        assert not store.write(Transaction(condition=outbox.acquire(added.job_id, NOW + longest_s + 10)))
