"""Quotas that are reserved in slices: unused calls are returned once, and refused calls say what is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clock import NOW, Clock
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quota_counter import SLICE_TTL_S, Quotas
from valetkey.storage import quotas
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable, Transaction

QUOTA = Quota(1000, "month")
BEGINS_AT = QUOTA.period_bounds(NOW)[0]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def counter(store: Store, clock: Clock) -> Quotas:
    return Quotas(store, clock)


def spend(counter: Quotas, clock: Clock, calls: int, client_id: str = "app", quota: Quota = QUOTA) -> int:
    """Make calls, and return how many are admitted."""
    return sum(counter.spend(client_id, quota, clock.time).is_admitted for _ in range(calls))


def find_charged(store: Store, client_id: str = "app") -> int:
    return quotas.find_charged(store, client_id, "month", BEGINS_AT)


def test_calls_that_were_returned_when_the_connection_broke_are_not_admitted_again(
    store: Store, counter: Quotas, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response to the commit is lost: the database has the calls back, and this process does not know it."""
    quota, write = Quota(100, "month"), store.write
    assert spend(counter, clock, 20, quota=quota) == 20
    assert find_charged(store) > 20, "some calls are reserved"

    def write_without_response(transaction: Transaction) -> bool:
        write(transaction)
        raise StoreUnavailable("the connection was lost")

    monkeypatch.setattr(store, "write", write_without_response)
    counter.return_all_slices()
    monkeypatch.undo()

    assert 20 + spend(counter, clock, 200, quota=quota) == 100


def test_calls_that_could_not_be_returned_to_a_busy_database_stay_with_the_process(
    store: Store, counter: Quotas, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(counter, clock, 20)
    reserved = find_charged(store)

    def refuse(_: Transaction) -> bool:
        raise StoreBusy("locked")

    monkeypatch.setattr(store, "write", refuse)
    counter.return_all_slices()
    assert spend(counter, clock, reserved - 20) == reserved - 20
    assert find_charged(store) == reserved
    monkeypatch.undo()
    spend(counter, clock, 1)
    counter.return_all_slices()

    assert find_charged(store) == reserved + 1


def test_an_expensive_call_that_is_refused_blocks_no_cheap_call(store: Store, counter: Quotas, clock: Clock) -> None:
    quotas.charge(store, "app", "month", QUOTA.period_bounds(NOW), 995, QUOTA.max_calls)

    refused = counter.spend("app", QUOTA, clock.time, cost=10)

    assert (refused.is_admitted, refused.remaining) == (False, 5)
    assert counter.standing_refusal("app", QUOTA, clock.time) is None
    repeated = counter.standing_refusal("app", QUOTA, clock.time, cost=10)
    assert repeated is not None
    assert repeated.remaining == 5
    assert spend(counter, clock, 6) == 5
    assert counter.spend("app", QUOTA, clock.time).remaining == 0


def test_a_clock_that_is_set_back_refuses_no_calls_of_a_quota_with_calls_left(
    store: Store, counter: Quotas, clock: Clock
) -> None:
    quotas.charge(store, "app", "month", QUOTA.period_bounds(NOW), 1000, QUOTA.max_calls)
    assert spend(counter, clock, 1) == 0
    quotas.write_refunds(store, (quotas.refund("app", "month", BEGINS_AT, 10),))

    clock.forward(-3600)

    assert counter.standing_refusal("app", QUOTA, clock.time) is None
    assert spend(counter, clock, 11) == 10


def test_unused_calls_are_returned_after_the_clock_was_set_back(store: Store, counter: Quotas, clock: Clock) -> None:
    spend(counter, clock, 20)
    clock.forward(SLICE_TTL_S / 2)
    counter.return_idle_slices()
    assert find_charged(store) > 20, "they may be used yet"

    clock.forward(-3600)
    counter.return_idle_slices()

    assert find_charged(store) == 20


def test_quotas_are_returned_in_the_order_of_their_clients(
    store: Store, counter: Quotas, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two processes that return calls of the same clients could wait for each other."""
    for client_id in ("b", "c", "a"):
        spend(counter, clock, 20, client_id)
    written: list[object] = []
    monkeypatch.setattr(store, "write", lambda transaction: written.extend(transaction.rows))

    counter.return_all_slices()

    assert [row.values["of"] for row in written] == ["a", "b", "c"]  # type: ignore[attr-defined]  # BoundStatement
