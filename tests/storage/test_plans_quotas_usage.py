"""Subscriptions, quotas and usage, the same on both stores."""

from __future__ import annotations

from valetkey.storage import quotas, subscriptions, usage
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.pruning import prune_statements
from valetkey.storage.subscriptions import Subscription
from valetkey.storage.usage import HourlyUsage

NOW = 1_900_000_000.0
PERIOD = (NOW - 1000, NOW + 1000)


def prune(store: Store, now: float) -> None:
    for _, _, remove in prune_statements(now):
        store.write(Transaction(rows=(remove,)))


def test_a_slice_is_taken_whole_or_not_at_all(store: Store) -> None:
    assert quotas.charge(store, "app", "month", PERIOD, 6, 10) == 6
    assert quotas.charge(store, "app", "month", PERIOD, 5, 10) is None
    assert quotas.charge(store, "app", "month", PERIOD, 4, 10) == 10
    assert quotas.charge(store, "app", "month", PERIOD, 1, 10) is None
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 10


def test_a_first_slice_cannot_be_over_the_quota(store: Store) -> None:
    assert quotas.charge(store, "app", "month", PERIOD, 11, 10) is None
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 0


def test_what_is_given_back_can_be_taken_again(store: Store) -> None:
    quotas.charge(store, "app", "month", PERIOD, 10, 10)
    quotas.write_refunds(store, (quotas.refund("app", "month", PERIOD[0], 3),))

    assert quotas.charge(store, "app", "month", PERIOD, 3, 10) == 10


def test_apps_units_and_periods_do_not_know_each_other(store: Store) -> None:
    quotas.charge(store, "app", "month", PERIOD, 10, 10)

    assert quotas.charge(store, "other", "month", PERIOD, 10, 10) == 10
    assert quotas.charge(store, "app", "day", PERIOD, 10, 10) == 10
    assert quotas.charge(store, "app", "month", (PERIOD[1], PERIOD[1] + 2000), 10, 10) == 10


def test_an_app_has_one_subscription(store: Store) -> None:
    first, second = Subscription("app", "free", "pro", NOW), Subscription("app", "pro", None, NOW + 1)
    store.write(Transaction(rows=(subscriptions.upsert(first),)))
    store.write(
        Transaction(rows=(subscriptions.upsert(second), subscriptions.upsert(Subscription("b", "free", None, NOW))))
    )

    assert subscriptions.find(store, "app") == second
    assert [one.client_id for one in subscriptions.list_all(store)] == ["app", "b"]
    store.write(Transaction(rows=(subscriptions.remove("app"),)))
    assert subscriptions.find(store, "app") is None


def test_an_approval_is_for_the_plan_that_is_waited_for(store: Store) -> None:
    store.write(Transaction(rows=(subscriptions.upsert(Subscription("app", "free", "pro", NOW)),)))

    assert not store.write(Transaction(subscriptions.approve("app", "gold", NOW)))
    assert store.write(Transaction(subscriptions.approve("app", "pro", NOW + 5)))
    assert not store.write(Transaction(subscriptions.approve("app", "pro", NOW + 6)))
    assert subscriptions.find(store, "app") == Subscription("app", "pro", None, NOW + 5)


def test_calls_add_up(store: Store) -> None:
    one, other = HourlyUsage(10, "app", "GET /a", 200, 3), HourlyUsage(10, "app", "GET /a", 429, 1)
    for _ in range(2):
        store.write(
            Transaction(
                rows=(
                    usage.add_calls(one),
                    usage.add_calls(other),
                    usage.add_calls(HourlyUsage(11, "b", "GET /a", 200, 7)),
                )
            )
        )

    hours = (10 * 3600, 11 * 3600 + 3599)
    assert usage.list_between(store, *hours, "app") == [
        HourlyUsage(10, "app", "GET /a", 200, 6),
        HourlyUsage(10, "app", "GET /a", 429, 2),
    ]
    told = {one[:3]: one[3] for one in usage.list_totals(store, *hours)}
    assert told == {("app", "GET /a", 200): 6, ("app", "GET /a", 429): 2, ("b", "GET /a", 200): 14}
    assert usage.list_between(store, 11 * 3600, 11 * 3600, "app") == []


def test_old_usage_and_quotas_are_pruned_and_new_ones_stay(store: Store) -> None:
    """One app's old rows beside its new ones: tried against pruning by the first column of the key."""
    hour, year = int(NOW // 3600), 367 * 24
    store.write(Transaction(rows=(usage.add_calls(HourlyUsage(hour - year, "app", "GET /a", 200, 1)),)))
    store.write(Transaction(rows=(usage.add_calls(HourlyUsage(hour, "app", "GET /a", 200, 1)),)))
    old = (NOW - 70 * 86400, NOW - 40 * 86400)
    quotas.charge(store, "app", "month", old, 5, 10)
    quotas.charge(store, "app", "month", PERIOD, 5, 10)

    prune(store, NOW)

    assert [one.hour for one in usage.list_between(store, 0, NOW)] == [hour]
    assert quotas.find_charged(store, "app", "month", old[0]) == 0
    assert quotas.find_charged(store, "app", "month", PERIOD[0]) == 5
