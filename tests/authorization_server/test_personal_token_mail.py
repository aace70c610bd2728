"""Mail about personal access tokens: when one is made, seven days and one day before its end; once each."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.authorization_server.test_personal_tokens import DAY, make, revoke
from tests.conftest import MakeApp
from tests.support.browser_client import EMAIL, Browser, Clock
from valetkey import Valetkey
from valetkey.authorization_server import owner_mail
from valetkey.authorization_server.personal_tokens.reminders import queue_reminders
from valetkey.outbound.mail import MailNotSent
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import outbox

MAIL = "smtp://localhost:1"


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, mail_url=MAIL)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What goes out: to whom, subject, text."""
    mails: list[tuple[str, str, str]] = []
    monkeypatch.setattr(owner_mail, "send_mail", lambda settings, *mail: mails.append(mail))
    return mails


def work(app: Flask) -> None:
    """One round of a worker that has just begun, and so does what is done hourly."""
    runtime: Runtime = app.extensions["valetkey"]
    runtime.make_worker().run_once()


def test_whoever_makes_one_is_told(ada: Browser, app: Flask, sent: list[Any]) -> None:
    made = make(app)

    work(app)

    ((to, subject, text),) = sent
    assert (to, subject) == (EMAIL, "A personal access token was made")
    assert '"Backup"' in text and "/account/tokens" in text
    assert made.secret.reveal() not in text


def test_the_owner_is_reminded_seven_days_and_one_day_before(
    ada: Browser, app: Flask, sent: list[Any], clock: Clock
) -> None:
    make(app)
    seen = []
    for _ in range(31):
        clock.forward(DAY)
        work(app)
        seen.append(len(sent))

    assert len(sent) == 3
    assert "expires on" in sent[1][1] and "stop working" in sent[1][2]
    assert (seen.index(2), seen.index(3)) == (22, 28), "on days 23 and 29 of 30"


def test_two_workers_remind_once(ada: Browser, app: Flask, make_app: MakeApp, store_url: str, clock: Clock) -> None:
    other: Runtime = make_app(store_url, mail_url=MAIL).extensions["valetkey"]
    runtime: Runtime = app.extensions["valetkey"]
    make(app)
    clock.forward(24 * DAY)

    assert [queue_reminders(one) for one in (runtime, other, runtime)] == [1, 0, 0]


def test_nobody_is_reminded_of_what_was_revoked_or_is_short(ada: Browser, app: Flask, clock: Clock) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    revoke(app, make(app))
    make(app, lives=7 * DAY)
    clock.forward(DAY)
    assert queue_reminders(runtime) == 0

    clock.forward(5.5 * DAY)
    assert queue_reminders(runtime) == 1, "the week's token, one day before its end"


def test_without_a_mail_server_nothing_waits(ada: Browser, make_app: MakeApp, store_url: str, clock: Clock) -> None:
    silent = make_app(store_url)
    runtime: Runtime = silent.extensions["valetkey"]
    make(silent)
    clock.forward(24 * DAY)

    assert queue_reminders(runtime) == 0
    assert outbox.list_due(runtime.store, clock()) == []


class Hosts:
    """A host's people; the address is a claim, or the host is at fault."""

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
            raise RuntimeError("the host's database is away")
        return {"email": self.address}


def hosted(address: str | None, clock: Clock, url: str) -> Runtime:
    app = Flask("host")
    Valetkey(app, resource_owner=Hosts(address), database_url=url, encryption_keys=("a" * 43 + "=",), clock=clock)
    runtime: Runtime = app.extensions["valetkey"]
    return runtime


MESSAGE = {"owner": "ada", "subject": "s", "text": "t"}


def test_a_hosts_person_is_asked_for_the_address(clock: Clock, sqlite_store_url: str, sent: list[Any]) -> None:
    owner_mail.deliver_owner_mail(hosted("ada@host.example", clock, sqlite_store_url), MESSAGE)
    owner_mail.deliver_owner_mail(hosted("", clock, sqlite_store_url), MESSAGE)
    owner_mail.deliver_owner_mail(hosted("x@host.example", clock, sqlite_store_url), {**MESSAGE, "owner": "gone"})

    assert sent == [("ada@host.example", "s", "t")]


def test_a_host_at_fault_is_asked_again_later(clock: Clock, sqlite_store_url: str, sent: list[Any]) -> None:
    with pytest.raises(MailNotSent, match="RuntimeError"):
        owner_mail.deliver_owner_mail(hosted(None, clock, sqlite_store_url), MESSAGE)
    assert sent == []
