"""Subscriptions to plans, charges to quotas, and usage counts."""

from __future__ import annotations

from tests.support.clock import NOW
from valetkey.storage import quotas, subscriptions, usage
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.pruning import prune_statements
from valetkey.storage.subscriptions import Subscription
from valetkey.storage.usage import HourlyUsage

PERIOD = (NOW - 1000, NOW + 1000)


def prune(store: Store, now: float) -> None:
    for _, _, remove in prune_statements(now):
        store.write(Transaction(rows=(remove,)))


def test_a_quota_is_charged_the_whole_amount_or_nothing(store: Store) -> None:
    assert quotas.charge(store, "app", "month", PERIOD, 6, 10) == 6
    assert quotas.charge(store, "app", "month", PERIOD, 5, 10) is None
    assert quotas.charge(store, "app", "month", PERIOD, 4, 10) == 10
    assert quotas.charge(store, "app", "month", PERIOD, 1, 10) is None
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 10


def test_the_first_charge_of_a_period_cannot_exceed_the_quota(store: Store) -> None:
    assert quotas.charge(store, "app", "month", PERIOD, 11, 10) is None
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 0


def test_refunded_calls_can_be_charged_again(store: Store) -> None:
    quotas.charge(store, "app", "month", PERIOD, 10, 10)
    quotas.write_refunds(store, (quotas.refund("app", "month", PERIOD[0], 3),))

    assert quotas.charge(store, "app", "month", PERIOD, 3, 10) == 10


def test_clients_quotas_and_periods_are_charged_separately(store: Store) -> None:
    quotas.charge(store, "app", "month", PERIOD, 10, 10)

    assert quotas.charge(store, "other", "month", PERIOD, 10, 10) == 10
    assert quotas.charge(store, "app", "day", PERIOD, 10, 10) == 10
    assert quotas.charge(store, "app", "month", (PERIOD[1], PERIOD[1] + 2000), 10, 10) == 10


def test_a_client_has_one_subscription(store: Store) -> None:
    first, second = Subscription("app", "free", "pro", NOW), Subscription("app", "pro", None, NOW + 1)
    store.write(Transaction(rows=(subscriptions.upsert(first),)))
    store.write(
        Transaction(rows=(subscriptions.upsert(second), subscriptions.upsert(Subscription("b", "free", None, NOW))))
    )

    assert subscriptions.find(store, "app") == second
    assert [subscription.client_id for subscription in subscriptions.list_all(store)] == ["app", "b"]
    store.write(Transaction(rows=(subscriptions.remove("app"),)))
    assert subscriptions.find(store, "app") is None


def test_only_the_requested_plan_can_be_approved_and_only_once(store: Store) -> None:
    store.write(Transaction(rows=(subscriptions.upsert(Subscription("app", "free", "pro", NOW)),)))

    assert not store.write(Transaction(subscriptions.approve("app", "gold", NOW)))
    assert store.write(Transaction(subscriptions.approve("app", "pro", NOW + 5)))
    assert not store.write(Transaction(subscriptions.approve("app", "pro", NOW + 6)))
    assert subscriptions.find(store, "app") == Subscription("app", "pro", None, NOW + 5)


def test_calls_are_added_to_the_calls_of_the_same_hour(store: Store) -> None:
    successful, limited = HourlyUsage(10, "app", "GET /a", 200, 3), HourlyUsage(10, "app", "GET /a", 429, 1)
    for _ in range(2):
        store.write(
            Transaction(
                rows=(
                    usage.add_calls(successful),
                    usage.add_calls(limited),
                    usage.add_calls(HourlyUsage(11, "b", "GET /a", 200, 7)),
                )
            )
        )

    hours = (10 * 3600, 11 * 3600 + 3599)
    assert usage.list_between(store, *hours, "app") == [
        HourlyUsage(10, "app", "GET /a", 200, 6),
        HourlyUsage(10, "app", "GET /a", 429, 2),
    ]
    totals = {total[:3]: total[3] for total in usage.list_totals(store, *hours)}
    assert totals == {("app", "GET /a", 200): 6, ("app", "GET /a", 429): 2, ("b", "GET /a", 200): 14}
    assert usage.list_between(store, 11 * 3600, 11 * 3600, "app") == []


def test_only_old_usage_and_quotas_are_pruned(store: Store) -> None:
    """Old and new rows of the same client: detects pruning by only the first column of the primary key."""
    hour, year_h = int(NOW // 3600), 367 * 24
    store.write(Transaction(rows=(usage.add_calls(HourlyUsage(hour - year_h, "app", "GET /a", 200, 1)),)))
    store.write(Transaction(rows=(usage.add_calls(HourlyUsage(hour, "app", "GET /a", 200, 1)),)))
    old_period = (NOW - 70 * 86400, NOW - 40 * 86400)
    quotas.charge(store, "app", "month", old_period, 5, 10)
    quotas.charge(store, "app", "month", PERIOD, 5, 10)

    prune(store, NOW)

    assert [row.hour for row in usage.list_between(store, 0, NOW)] == [hour]
    assert quotas.find_charged(store, "app", "month", old_period[0]) == 0
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 5
