"""Mail about a personal access token: when it is created, and once each seven days and one day before it expires."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser
from tests.support.clock import Clock
from tests.support.personal_tokens import DAY_S, create_token, revoke_token
from valetkey import Valetkey
from valetkey.authorization_server import owner_mail
from valetkey.authorization_server.personal_tokens.reminders import queue_reminders
from valetkey.outbound import mail
from valetkey.outbound.errors import MailNotSent
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import outbox

MAIL_URL = "smtp://localhost:1"


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, mail_url=MAIL_URL)


@pytest.fixture
def sent_mails(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """The mails that were sent: address, subject and text."""
    mails: list[tuple[str, str, str]] = []
    monkeypatch.setattr(mail, "send_mail", lambda settings, *mail: mails.append(mail))
    return mails


def run_worker(app: Flask) -> None:
    """Run one round of a new worker, which includes the hourly jobs."""
    runtime: Runtime = app.extensions["valetkey"]
    runtime.make_worker().run_once()


def test_the_owner_gets_mail_when_a_token_is_created(ada: Browser, app: Flask, sent_mails: list[Any]) -> None:
    created = create_token(app)

    run_worker(app)

    ((to, subject, text),) = sent_mails
    assert (to, subject) == (EMAIL, "A personal access token was created")
    assert '"Backup"' in text and "/account/tokens" in text
    assert created.secret.reveal() not in text


def test_the_owner_is_reminded_seven_days_and_one_day_before_expiry(
    ada: Browser, app: Flask, sent_mails: list[Any], clock: Clock
) -> None:
    create_token(app)
    counts = []
    for _ in range(31):
        clock.forward(DAY_S)
        run_worker(app)
        counts.append(len(sent_mails))

    assert len(sent_mails) == 3
    assert "expires on" in sent_mails[1][1] and "stop working" in sent_mails[1][2]
    assert (counts.index(2), counts.index(3)) == (22, 28), "on days 23 and 29 of 30"


def test_two_workers_queue_each_reminder_once(
    ada: Browser, app: Flask, make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    other: Runtime = make_app(store_url, mail_url=MAIL_URL).extensions["valetkey"]
    runtime: Runtime = app.extensions["valetkey"]
    create_token(app)
    clock.forward(24 * DAY_S)

    assert [
        queue_reminders(worker_runtime, worker_runtime.clock()) for worker_runtime in (runtime, other, runtime)
    ] == [1, 0, 0]


def test_revoked_and_short_lived_tokens_have_no_seven_day_reminder(ada: Browser, app: Flask, clock: Clock) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    revoke_token(app, create_token(app))
    create_token(app, lifetime_s=7 * DAY_S)
    clock.forward(DAY_S)
    assert queue_reminders(runtime, runtime.clock()) == 0

    clock.forward(5.5 * DAY_S)
    assert queue_reminders(runtime, runtime.clock()) == 1, "the token of one week, one day before its expiry"


def test_nothing_is_queued_without_a_mail_server(ada: Browser, make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app_without_mail = make_app(store_url)
    runtime: Runtime = app_without_mail.extensions["valetkey"]
    create_token(app_without_mail)
    clock.forward(24 * DAY_S)

    assert queue_reminders(runtime, runtime.clock()) == 0
    assert outbox.list_due(runtime.store, clock()) == {}


class HostAccounts:
    """A host's accounts. The address is a claim; without an address, reading the claims fails."""

    def __init__(self, address: str | None) -> None:
        self.address = address

    def current(self) -> Owner | None:
        return None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        raise LookupError

    def find(self, sub: str) -> Owner | None:
        return Owner(sub) if sub == "ada" else None

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        if self.address is None:
            raise RuntimeError("the host's database is down")
        return {"email": self.address}


def make_host_runtime(address: str | None, clock: Clock, database_url: str) -> Runtime:
    app = Flask("host")
    Valetkey(
        app,
        resource_owner=HostAccounts(address),
        database_url=database_url,
        encryption_keys=("a" * 43 + "=",),
        clock=clock,
    )
    runtime: Runtime = app.extensions["valetkey"]
    return runtime


PAYLOAD = {"owner": "ada", "subject": "s", "text": "t"}


def test_the_address_comes_from_the_hosts_accounts(clock: Clock, sqlite_store_url: str, sent_mails: list[Any]) -> None:
    owner_mail.deliver_owner_mail(make_host_runtime("ada@host.example", clock, sqlite_store_url), PAYLOAD, 0.0)
    owner_mail.deliver_owner_mail(make_host_runtime("", clock, sqlite_store_url), PAYLOAD, 0.0)
    owner_mail.deliver_owner_mail(
        make_host_runtime("x@host.example", clock, sqlite_store_url), {**PAYLOAD, "owner": "gone"}, 0.0
    )

    assert sent_mails == [("ada@host.example", "s", "t")]


def test_mail_is_retried_if_the_hosts_accounts_fail(clock: Clock, sqlite_store_url: str, sent_mails: list[Any]) -> None:
    with pytest.raises(MailNotSent, match="RuntimeError"):
        owner_mail.deliver_owner_mail(make_host_runtime(None, clock, sqlite_store_url), PAYLOAD, 0.0)
    assert sent_mails == []
