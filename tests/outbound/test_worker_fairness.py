"""Recipients that are slow or have many jobs delay only their own jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

import pytest

from tests.support.clock import NOW, Clock
from tests.support.store_assertions import count_rows
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.worker import Worker
from valetkey.settings import Settings
from valetkey.storage import outbox
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()


class Handlers:
    """Handlers of mail, and of logout tokens, each of which takes two seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        self.done: list[str] = []  # recipients, in the order in which their jobs were done
        self._clock = clock
        self._lock = Lock()
        self.by_kind = {"mail": self._send_mail, "logout_token": self._send_logout_token}

    def _send_mail(self, payload: Mapping[str, Any], _now: float) -> None:
        self.done.append(payload["to"])

    def _send_logout_token(self, payload: Mapping[str, Any], _now: float) -> None:
        with self._lock:
            self._clock.forward(2)
            self.done.append(payload["client_id"])


def add_logout_tokens(store: Store, client_id: str, count: int) -> None:
    jobs = tuple(outbox.add("logout_token", {"client_id": client_id}, NOW - 100) for _ in range(count))
    store.write(Transaction(rows=jobs))


def add_mail(store: Store, to: str) -> None:
    store.write(Transaction(rows=(outbox.add("mail", {"to": to}, NOW),)))


@pytest.mark.parametrize("backlog", [700, 10_000])
def test_mail_is_sent_in_the_next_round_however_many_jobs_are_due_for_a_slow_client(
    store: Store, clock: Clock, backlog: int
) -> None:
    handlers = Handlers(clock)
    worker = Worker(Settings(), store, clock, handlers.by_kind)
    add_logout_tokens(store, "slow", backlog)
    worker.run_once()
    add_mail(store, "ada@example.org")
    add_logout_tokens(store, "other", 1)

    worker.run_once()

    assert {"ada@example.org", "other"} <= set(handlers.done)
    assert 2 <= handlers.done.count("slow") <= 6  # two rounds of five seconds
    assert count_rows(store, "valetkey_outbox") == backlog - handlers.done.count("slow")


def test_many_slow_clients_share_the_time_of_a_round_and_mail_does_not_queue_behind_them(
    store: Store, clock: Clock
) -> None:
    handlers = Handlers(clock)
    worker = Worker(Settings(), store, clock, handlers.by_kind)
    clients = [f"slow{number}" for number in range(40)]
    for client_id in clients:
        add_logout_tokens(store, client_id, 50)
    add_mail(store, "ada@example.org")

    worker.run_once()

    assert "ada@example.org" in handlers.done[:9]  # of the first that run, eight at a time
    assert sorted(set(handlers.done) - {"ada@example.org"}) == sorted(clients)
    assert len(handlers.done) == len(clients) + 1  # each client has a fifth of five seconds: one job


def test_more_jobs_than_fit_into_one_round_are_run_in_the_next_ones(store: Store, clock: Clock) -> None:
    """500 of one kind fit into a round: of each recipient the same number."""
    handlers = Handlers(clock)
    worker = Worker(Settings(), store, clock, handlers.by_kind)
    store.write(Transaction(rows=tuple(outbox.add("mail", {"to": str(n // 40)}, NOW) for n in range(1200))))

    rounds = [worker.run_once() for _ in range(4)]

    assert rounds == [500, 500, 200, 0]
    assert {handlers.done[:500].count(str(recipient)) for recipient in range(30)} == {16, 17}


def test_a_recipient_that_fails_is_left_alone_for_ten_seconds_however_many_jobs_are_due_for_it(
    store: Store, clock: Clock
) -> None:
    attempts: list[str] = []

    def fail(payload: Mapping[str, Any], _now: float) -> None:
        attempts.append(payload["client_id"])
        raise FetchFailed("no answer")

    handlers = Handlers(clock)
    worker = Worker(Settings(), store, clock, {**handlers.by_kind, "logout_token": fail})
    down = [f"down{number}" for number in range(600)]
    for client_id in down:
        add_logout_tokens(store, client_id, 150 if client_id == "down0" else 2)

    for seconds in (0, 1, 8.9):
        clock.forward(seconds)
        worker.run_once()
    assert sorted(attempts) == sorted(down)
    clock.forward(0.1)
    worker.run_once()

    assert len(attempts) == 1100
    assert {job.problem for job in outbox.list_all(store, 2000)} == {None, "no answer"}


def test_a_round_reads_no_more_jobs_than_it_may_run(store: Store) -> None:
    add_logout_tokens(store, "slow", 3000)
    add_mail(store, "ada@example.org")
    for payload in ("nonsense", "[]"):
        statement = outbox.add("logout_token", {}, NOW)
        store.write(Transaction(rows=(statement._replace(values={**statement.values, "payload": payload}),)))

    groups = outbox.list_due(store, NOW)
    others = outbox.list_due(store, NOW, [name for name in groups if "slow" in name])

    assert sorted(len(jobs) for jobs in groups.values()) == [1, 2, 100]
    assert sorted(len(jobs) for jobs in others.values()) == [1, 2]


def test_only_the_first_jobs_of_a_kind_are_numbered_and_those_of_other_kinds_are_among_them(store: Store) -> None:
    """To number all of 700,000 jobs took longer than the time limit of a statement: none was run any more."""
    add_logout_tokens(store, "slow", 60)
    add_logout_tokens(store, "other", 60)
    add_mail(store, "ada@example.org")

    groups = outbox.list_due(store, NOW, max_read=80)
    others = outbox.list_due(store, NOW, ["logout_token slow"], max_read=80)

    assert {name: len(jobs) for name, jobs in groups.items()} == {
        "logout_token slow": 60,
        "logout_token other": 20,
        "mail ada@example.org": 1,
    }
    assert {name: len(jobs) for name, jobs in others.items()} == {"logout_token other": 60, "mail ada@example.org": 1}
