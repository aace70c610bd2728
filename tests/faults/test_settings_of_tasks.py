"""The settings that background jobs, hourly tasks and ``valetkey prune`` read: decision 81 needs their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, ClassVar

import pytest
from flask import Flask

from tests.conformance.logout_token_receiver import obtain_openid_tokens, run_logout_token_receiver
from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import CALLBACK, EMAIL, ISSUER, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.personal_tokens import DAY_S, create_token
from tests.support.smtp_server import SmtpServer
from tests.support.store_assertions import count_rows
from valetkey.accounts.mail_links import ACCOUNT_MAIL_JOB, RESET_PASSWORD, SIGN_UP, VERIFY_EMAIL
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB
from valetkey.authorization_server.openid.session_logout import SESSION_LOGOUT_JOB
from valetkey.cli.prune import SETTINGS_OF_PRUNE, delete_expired_rows
from valetkey.cli.work import SETTINGS_OF_TASKS
from valetkey.extension import make_runtime
from valetkey.outbound.worker import JobCounts, JobHandler
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import outbox, session_grants
from valetkey.web.resource_owners import BuiltInAccounts

ALL_NAMES = frozenset(field.name for field in fields(Settings))
# Read when the objects of an app are created, but of no effect on jobs and tasks.
OF_REQUESTS = {name for name in ALL_NAMES if name.endswith("_limit")} | {
    *("scopes", "plans", "default_plan", "sign_in_with", "rate_limit_fields", "revocation_outage", "embedded_worker"),
}
# A command without these has another database or none, or cannot decrypt its keys.
OF_THE_DATABASE = {"database_url", "data_dir", "encryption_keys", "database_pooler", "database_connections"}
METADATA_DOCUMENT = "http://127.0.0.1:1/client"


class RecordingSettings(Settings):
    """Settings that record which of them are read."""

    names_read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in ALL_NAMES:
            RecordingSettings.names_read.add(name)
        return super().__getattribute__(name)


@pytest.fixture
def runtime(make_app: MakeApp, sqlite_store_url: str, clock: Clock) -> Iterator[Runtime]:
    """The runtime of a command: jobs of every kind and hourly tasks are due, and nothing was read but at its creation.

    Settings from which others are derived have the value with which the others are read.
    """
    with SmtpServer() as mail_server, run_logout_token_receiver() as receiver:
        app = make_app(sqlite_store_url, mail_url=mail_server.url)
        registration = app.test_client().post("/oauth/register", json={"redirect_uris": [CALLBACK]})
        assert registration.status_code == 201
        clock.forward(2 * DAY_S)  # the client is not used meanwhile
        add_due_jobs(app, receiver.url)
        settings = RecordingSettings(
            database_url=sqlite_store_url,
            encryption_keys=(ENCRYPTION_KEY,),
            issuer=ISSUER,
            mail_url=mail_server.url,
            unused_registration_days=1,
            account_path=None,
        )
        RecordingSettings.names_read.clear()  # by the checks of the settings
        runtime = make_runtime(settings, BuiltInAccounts(), clock)
        runtime.clock = clock  # type: ignore[assignment]  # as in make_app
        yield runtime
        runtime.close()


def add_due_jobs(app: Flask, logout_url: str) -> None:
    """Sign Ada in to a client with a logout endpoint, and add jobs of every kind."""
    runtime: Runtime = app.extensions["valetkey"]
    now, members = runtime.clock(), {"backchannel_logout_uri": logout_url}
    client = register_client(runtime, now, name="Shop", policy="web", redirect_uris=[CALLBACK], members=members)
    obtain_openid_tokens(sign_in_new_account(Browser(app.test_client(), client), runtime, EMAIL, "Ada"))
    create_token(app, lifetime_s=7 * DAY_S)  # adds a mail, and needs a reminder
    ((_, sid),) = session_grants.list_client_sessions(runtime.store, "ada")
    link = {"name": "", "next": "", "at": now}
    runtime.store.write_all(
        outbox.add("mail", {"to": EMAIL, "subject": "Hello", "text": "Hello"}, now),
        outbox.add(SESSION_LOGOUT_JOB, {"owner": "ada", "sid": sid}, now),  # adds a logout token
        outbox.add(LOGOUT_TOKEN_JOB, {"client_id": METADATA_DOCUMENT, "owner": "ada", "sid": sid}, now),
        outbox.add(ACCOUNT_MAIL_JOB, {"purpose": SIGN_UP, "email": "bob@example.org", **link}, now),
        outbox.add(ACCOUNT_MAIL_JOB, {"purpose": RESET_PASSWORD, "email": EMAIL, **link}, now),
        outbox.add(ACCOUNT_MAIL_JOB, {"purpose": VERIFY_EMAIL, "email": EMAIL, **link}, now),
    )


def record_kinds(runtime: Runtime) -> set[str]:
    """Return a set to which the kinds of jobs are added that handlers of the runtime run."""
    kinds: set[str] = set()

    def recording(kind: str, handler: JobHandler) -> JobHandler:
        def run(payload: Any, now: float) -> None:
            kinds.add(kind)
            handler(payload, now)

        return run

    runtime.job_handlers |= {kind: recording(kind, handler) for kind, handler in runtime.job_handlers.items()}
    return kinds


def test_jobs_and_hourly_tasks_read_the_settings_that_work_needs(runtime: Runtime) -> None:
    read_at_creation = RecordingSettings.names_read - OF_REQUESTS
    RecordingSettings.names_read.clear()
    kinds = record_kinds(runtime)

    assert runtime.make_worker().run_all_due() == JobCounts(succeeded=9)

    assert kinds == runtime.job_handlers.keys() and count_rows(runtime.store, "valetkey_registrations") == 0
    read = (read_at_creation | RecordingSettings.names_read) - OF_THE_DATABASE
    assert read == {*SETTINGS_OF_TASKS} - {"resource_owner"}


def test_prune_reads_the_settings_that_it_needs(runtime: Runtime) -> None:
    RecordingSettings.names_read.clear()  # what is read at creation chooses the counters, which expire by themselves

    removed, failed = delete_expired_rows(runtime)

    assert removed["unused clients"] == 1 and not failed
    assert RecordingSettings.names_read == {*SETTINGS_OF_PRUNE}
