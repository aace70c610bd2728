"""A worker that ends releases its lease, so that another one goes on at once; ``work --once`` runs all due jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.app import MakeApp
from tests.support.clock import NOW, Clock
from tests.support.store_assertions import count_rows
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.worker import JobCounts, Worker, is_worker_active
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import leases, outbox
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction


@pytest.fixture
def store(store_url: str, clock: Clock) -> Iterator[Store]:
    store = open_store(store_url)
    store.clock = clock
    yield store
    store.close()


def make_worker(store: Store, clock: Clock) -> Worker:
    def fail(*_: object) -> None:
        raise FetchFailed("no answer")

    return Worker(Settings(), store, clock, {"good": lambda *_: None, "bad": fail})


def add_jobs(store: Store, kind: str, number: int) -> None:
    store.write_all(*(outbox.add(kind, {"to": f"{n}@example.org"}, NOW) for n in range(number)))


def test_all_due_jobs_are_run_also_if_there_are_more_than_in_one_round(store: Store, clock: Clock) -> None:
    add_jobs(store, "good", 502)
    add_jobs(store, "bad", 2)

    assert make_worker(store, clock).run_all_due() == JobCounts(502, 2)

    assert len(outbox.list_all(store, 10)) == 2
    assert make_worker(store, clock).run_all_due() == JobCounts(), "the lease was released; no job is due"


def test_while_another_worker_runs_jobs_none_is_run(store: Store, clock: Clock) -> None:
    add_jobs(store, "good", 1)
    store.write(Transaction(leases.acquire("worker", "other", 15)))

    assert make_worker(store, clock).run_all_due() is None

    assert count_rows(store, "valetkey_outbox") == 1
    assert is_worker_active(store, NOW), "the lease of the other worker is not released"


def test_attempts_count_if_another_worker_acquires_the_lease_after_the_first_round(store: Store, clock: Clock) -> None:
    def delay_and_fail(*_: object) -> None:
        clock.forward(16)  # the lease ends
        store.write(Transaction(leases.acquire("worker", "other", 15)))
        raise FetchFailed("no answer")

    add_jobs(store, "bad", 1)

    assert Worker(Settings(), store, clock, {"bad": delay_and_fail}).run_all_due() == JobCounts(failed=1)

    assert is_worker_active(store, clock()), "the lease of the other worker is not released"


def test_a_worker_that_is_stopped_releases_its_lease(store: Store, clock: Clock) -> None:
    stop = threading.Event()
    worker = Worker(Settings(), store, clock, {"good": lambda *_: stop.set()})
    add_jobs(store, "good", 1)

    worker.run(stop)

    assert stop.is_set()
    assert not is_worker_active(store, NOW)


def test_an_app_that_is_closed_releases_the_lease_of_its_worker(
    make_app: MakeApp, store: Store, store_url: str
) -> None:
    runtime: Runtime = make_app(store_url, embedded_worker=True).extensions["valetkey"]
    has_run = threading.Event()
    runtime.hourly_tasks.append(lambda _: has_run.set())
    runtime.get_ready()
    assert has_run.wait(10)

    runtime.close()

    assert not is_worker_active(store, NOW)
