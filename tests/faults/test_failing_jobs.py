"""Background jobs that fail in any way: they are parked at last, and all other jobs are run."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clock import NOW, Clock
from tests.support.smtp_server import SmtpServer
from tests.support.store_assertions import count_rows
from valetkey.outbound.errors import FetchFailed, MailRefused
from valetkey.outbound.worker import Worker
from valetkey.protocol.secret import random_id
from valetkey.settings import Settings
from valetkey.storage import change_feed, outbox
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

HOUR, DAY = 3600.0, 86400.0
HOSTILE_ADDRESS = "=?utf-8?q?a=0Abcc=3Ax?=@example.org"
SECRET = "vk_ss_of_a_person"  # must not be logged


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()


def write(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def add_job_with_payload(store: Store, payload_json: str, kind: str = "mail") -> None:
    """Add a job whose payload is any text, as another version of the code may have written it."""
    statement = outbox.add(kind, {}, NOW)
    write(store, statement._replace(values={**statement.values, "payload": payload_json}))


def raise_error(error: BaseException) -> Callable[..., None]:
    def handler(*_: object) -> None:
        raise error

    return handler


def run_until_parked(worker: Worker, clock: Clock) -> int:
    """Run the worker for a week, ten times a day. Return how many jobs succeeded."""
    succeeded = 0
    for _ in range(70):
        succeeded += worker.run_once()
        clock.forward(DAY / 10)
    return succeeded


@pytest.mark.parametrize(
    "error",
    [
        *(
            RuntimeError(SECRET),
            ValueError(SECRET),
            KeyError(SECRET),
            RecursionError(),
            MemoryError(),
            SystemExit(SECRET),
        ),
        *(GeneratorExit(), StoreUnavailable("no answer"), FetchFailed("no answer"), UnicodeError(SECRET)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_job_that_raises_anything_is_parked_and_the_other_jobs_run(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture, error: BaseException
) -> None:
    done: list[object] = []
    handlers = {"poison": raise_error(error), "good": lambda payload, _now: done.append(payload["number"])}
    worker = Worker(Settings(), store, clock, handlers)
    write(store, outbox.add("poison", {"to": "a"}, NOW), outbox.add("good", {"to": "a", "number": 1}, NOW))

    assert worker.run_once() == 1
    write(store, outbox.add("good", {"to": "b", "number": 2}, NOW))
    assert run_until_parked(worker, clock) == 1

    assert done == [1, 2]
    (parked,) = outbox.list_all(store, 10)
    assert (parked.kind, parked.attempts) == ("poison", 7)
    assert parked.parked_at is not None
    assert SECRET not in clean_log.text + str(parked.problem)


@pytest.mark.parametrize("recipients", [["a"], ["a", "b"]])
def test_a_job_that_raises_keyboard_interrupt_does_not_end_the_worker_thread(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture, recipients: list[str]
) -> None:
    """Ctrl-C raises it in the main thread only; in another thread it is an error like any other."""
    stop = threading.Event()
    worker = Worker(
        Settings(), store, clock, {"poison": raise_error(KeyboardInterrupt()), "good": lambda payload, now: stop.set()}
    )
    write(store, *(outbox.add("poison", {"to": recipient}, NOW) for recipient in recipients))
    write(store, outbox.add("good", {"to": "c"}, NOW + 1))

    thread = threading.Thread(target=lambda: worker.run(stop, interval_s=0.01))
    thread.start()
    clock.forward(2)
    thread.join(10)

    assert stop.is_set()
    assert {job.attempts for job in outbox.list_all(store, 10)} == {1}


def test_ctrl_c_ends_a_worker_in_the_main_thread(store: Store, clock: Clock) -> None:
    write(store, outbox.add("poison", {}, NOW))

    with pytest.raises(KeyboardInterrupt):
        Worker(Settings(), store, clock, {"poison": raise_error(KeyboardInterrupt())}).run_once()


def test_a_worker_prunes_and_renews_its_lease_after_the_clock_was_set_back(store: Store, clock: Clock) -> None:
    runs: list[float] = []
    worker = Worker(Settings(), store, clock, hourly_tasks=[runs.append])
    clock.forward(400 * DAY)
    worker.run_once()
    clock.forward(-400 * DAY)
    worker.run_once()
    worker.run_once()

    assert runs == [NOW + 400 * DAY, NOW]


@pytest.mark.parametrize(
    "payload",
    ["", "nonsense", "[]", "5", "null", '"to"', "{", "[" * 100_000, '{"to": ["a"]}', '{"to": {"a": 1}}', "{}"],
)
def test_a_job_whose_payload_is_unusable_is_parked(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture, payload: str
) -> None:
    add_job_with_payload(store, payload)
    add_job_with_payload(store, "{}", kind="a kind of another version")
    worker = Worker(Settings(), store, clock, {"good": lambda *_: None})
    write(store, outbox.add("good", {}, NOW))

    assert run_until_parked(worker, clock) == 1

    assert outbox.count_parked(store) == 2


def test_a_job_that_ends_the_process_at_each_attempt_is_parked(store: Store, clock: Clock) -> None:
    """As after a restart with an older version, whose worker ended before it could write that the job failed."""
    write(store, outbox.add("good", {}, NOW))
    ((job,),) = outbox.list_due(store, NOW).values()
    for number in range(7):
        store.write(Transaction(condition=outbox.acquire(job.job_id, NOW + 61 * number)))
    clock.forward(HOUR)
    calls: list[object] = []

    Worker(Settings(), store, clock, {"good": lambda *arguments: calls.append(arguments)}).run_once()

    assert calls == []
    assert outbox.count_parked(store) == 1


def test_a_recipient_that_is_refused_for_good_is_parked_at_once(store: Store, clock: Clock) -> None:
    write(store, outbox.add("mail", {}, NOW))

    Worker(Settings(), store, clock, {"mail": raise_error(MailRefused("no such mailbox"))}).run_once()

    assert outbox.count_parked(store) == 1


def test_a_parked_job_is_deleted_after_thirty_days(store: Store, clock: Clock) -> None:
    write(store, outbox.add("mail", {}, NOW))
    worker = Worker(Settings(), store, clock, {"mail": raise_error(MailRefused("no such mailbox"))})
    worker.run_once()
    clock.forward(29 * DAY)
    worker.run_once()
    assert outbox.count_parked(store) == 1
    clock.forward(2 * DAY)
    worker.run_once()

    assert count_rows(store, "valetkey_outbox") == 0


def test_a_failing_task_and_a_failing_table_do_not_stop_the_worker(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    tasks = [raise_error(ValueError(SECRET)), raise_error(SystemExit()), lambda *_: done.append("task")]

    worker = Worker(Settings(), store, clock, {"good": lambda *_: done.append("job")}, tasks)
    write(store, change_feed.add_token(random_id(), NOW - 90 * DAY), outbox.add("good", {}, NOW))
    fetch_one, failures = store.fetch_one, iter([ValueError(SECRET), StoreUnavailable("locked")])

    def fail_twice(statement: BoundStatement) -> Any:
        for error in failures:
            raise error
        return fetch_one(statement)

    monkeypatch.setattr(store, "fetch_one", fail_twice)

    assert worker.run_once() == 1

    assert done == ["task", "job"]
    assert count_rows(store, "valetkey_revocations") == 0
    assert clean_log.text.count("pruning valetkey_") == 2
    assert clean_log.text.count("an hourly task failed") == 2


def test_the_worker_thread_logs_any_error_and_continues(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valetkey.outbound.worker._RESTART_DELAY_S", 0.01)
    stop, done = threading.Event(), list[float]()
    worker = Worker(Settings(), store, clock)
    errors = iter([RuntimeError(SECRET), StoreUnavailable("no answer"), TypeError()])

    def run_once() -> int:
        for error in errors:
            raise error
        done.append(clock())
        stop.set()
        return 0

    monkeypatch.setattr(worker, "run_once", run_once)
    worker.run(stop, interval_s=0.01)

    assert len(done) == 1
    levels = [record.levelno for record in clean_log.records if record.name.startswith("valetkey")]
    assert levels == [logging.ERROR, logging.WARNING, logging.ERROR]
    assert SECRET not in clean_log.text


def test_a_hostile_address_that_an_older_version_queued_does_not_stop_the_mail_of_others(
    store: Store, clock: Clock, clean_log: pytest.LogCaptureFixture
) -> None:
    with SmtpServer() as server:
        settings = Settings(mail_url=server.url)
        for address in (HOSTILE_ADDRESS, "a@b.example, c@d.example", "ada@example.org"):
            write(store, outbox.add("mail", {"to": address, "subject": "Hello", "text": "Hello"}, NOW))
        Worker(settings, store, clock).run_once()
        Worker(settings, store, clock).run_once()

    assert [mail.recipients for mail in server.received] == [["ada@example.org"]]
    parked = [json.loads(job.payload_json)["to"] for job in outbox.list_all(store, 10) if job.parked_at]
    assert sorted(parked) == sorted([HOSTILE_ADDRESS, "a@b.example, c@d.example"])


def test_a_worker_that_is_stopped_begins_no_more_jobs(store: Store, clock: Clock) -> None:
    stop = threading.Event()
    worker = Worker(Settings(), store, clock, {"good": lambda *_: stop.set()})
    write(store, *(outbox.add("good", {"to": "a"}, NOW) for _ in range(3)))

    worker.run(stop)

    assert count_rows(store, "valetkey_outbox") == 2


@pytest.mark.parametrize("quit_reply", ["421 shutting down", "500 unknown", "nonsense", "2" * 10_000, ""])
def test_the_reply_to_quit_does_not_change_whether_a_mail_was_accepted_or_refused(
    store: Store, clock: Clock, quit_reply: str
) -> None:
    with SmtpServer({"nobody@example.org": "550 no such mailbox"}, quit_reply) as server:
        worker = Worker(Settings(mail_url=server.url), store, clock)
        for address in ("ada@example.org", "nobody@example.org"):
            write(store, outbox.add("mail", {"to": address, "subject": "Hello", "text": "Hello"}, NOW))

        assert run_until_parked(worker, clock) == 1

    assert [mail.recipients for mail in server.received if mail.recipients] == [["ada@example.org"]]
    (parked,) = outbox.list_all(store, 10)
    assert (parked.recipient, parked.attempts) == ("nobody@example.org", 1)
