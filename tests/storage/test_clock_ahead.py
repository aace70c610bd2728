"""What a clock that was ahead for a moment has stored blocks nothing once the clock is right: leases, jobs, keys."""

from __future__ import annotations

import pytest

from tests.support.clock import NOW
from valetkey.storage import idempotency_keys, leases, outbox, provider_links
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_links import ProviderLink

DAY = 86_400.0
LINK = ProviderLink("subject", "https://idp.example", "sub", None, NOW, tokens=b"encrypted")


def write(store: Store, condition: BoundStatement, now: float) -> bool:
    store.clock = lambda: now
    return store.write(Transaction(condition))


@pytest.mark.parametrize("ahead_s", [120.0, 30 * DAY])
def test_a_lease_that_was_stored_while_the_clock_was_ahead_has_ended(store: Store, ahead_s: float) -> None:
    write(store, leases.acquire("worker", "first", 15), NOW + ahead_s)

    assert not leases.is_active("worker", store, NOW, 15)
    assert write(store, leases.acquire("worker", "second", 15), NOW)
    assert leases.is_active("worker", store, NOW, 15)


def test_a_lease_is_active_if_the_clock_of_its_holder_is_a_little_fast(store: Store) -> None:
    write(store, leases.acquire("worker", "first", 15), NOW + 1)

    assert leases.is_active("worker", store, NOW, 15)
    assert not write(store, leases.acquire("worker", "second", 15), NOW)


def test_a_job_that_was_added_and_assigned_while_the_clock_was_ahead_is_due(store: Store) -> None:
    store.write_all(outbox.add("mail", {}, NOW + 30 * DAY))
    ((job,),) = outbox.list_due(store, NOW + 30 * DAY).values()
    write(store, outbox.acquire(job.job_id, NOW + 30 * DAY), NOW)

    assert outbox.count_overdue(store, NOW, 300) == 1
    assert [[job.job_id for job in jobs] for jobs in outbox.list_due(store, NOW).values()] == [[job.job_id]]
    assert write(store, outbox.acquire(job.job_id, NOW), NOW)
    assert outbox.list_due(store, NOW) == {}, "it is assigned now"


def test_a_retry_in_a_day_is_not_due(store: Store) -> None:
    store.write_all(outbox.add("mail", {}, NOW + outbox.MAX_DELAY_S))

    assert outbox.list_due(store, NOW) == {}
    assert outbox.count_overdue(store, NOW, 300) == 0


def test_a_refresh_of_tokens_that_began_while_the_clock_was_ahead_has_ended(store: Store) -> None:
    store.write_all(provider_links.add(LINK), provider_links.set_tokens(LINK.issuer, LINK.subject, b"encrypted"))
    assert write(store, provider_links.begin_refresh(LINK, 15), NOW + 30 * DAY)

    assert write(store, provider_links.begin_refresh(LINK, 15), NOW)
    assert not write(store, provider_links.begin_refresh(LINK, 15), NOW - 1), "the other clock is a little fast"


def test_a_request_that_reserved_an_idempotency_key_while_the_clock_was_ahead_is_abandoned(store: Store) -> None:
    def reserve(now: float) -> bool:
        key = idempotency_keys.reserve(b"digest", b"request", now, abandoned_before=now - 30, expires_at=now + DAY)
        return write(store, key, now)

    assert reserve(NOW + 30 * DAY)

    assert reserve(NOW)
    assert not reserve(NOW - 1), "the other clock is a little fast"
