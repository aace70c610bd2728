"""The cache of values from the database: what drops a value, and what happens if that comes while it is read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType

import pytest

from valetkey.caches.change_feed import ChangeFeed
from valetkey.caches.feed_cache import FeedCache, changed_client
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, resources, signing_keys, subscriptions
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction


class Rows:
    """A table of one column, whose reads are counted. ``before_return`` runs once, when a row was read."""

    def __init__(self) -> None:
        self.values = {"shop": 1, "mail": 1}
        self.reads = 0
        self.before_return: Callable[[], None] | None = None

    def load(self, key: str, _now: float) -> int | None:
        self.reads += 1
        value = self.values.get(key)
        run, self.before_return = self.before_return, None
        if run is not None:
            run()
        return value


@pytest.fixture
def store(runtime: Runtime) -> Store:
    """The store of an app with the default settings, on SQLite and on PostgreSQL."""
    return runtime.store


@pytest.fixture
def feed(store: Store) -> ChangeFeed:
    """A copy of the change feed, read once; its clock stands still."""
    feed = ChangeFeed(store)
    feed.uptime = lambda: 1000.0
    feed.refresh()
    return feed


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def cache(feed: ChangeFeed, rows: Rows) -> FeedCache[str, int]:
    return FeedCache(feed, rows.load, changed_client, max_entries=2, ttl_s=60.0)


def announce(store: Store, feed: ChangeFeed, client_id: str) -> None:
    store.write(Transaction(rows=(change_feed.add("changed", client_id),)))
    feed.invalidate()
    feed.refresh()


def test_a_value_is_read_once_until_the_feed_reports_a_change_of_it(
    store: Store, feed: ChangeFeed, rows: Rows, cache: FeedCache[str, int]
) -> None:
    assert [cache.get("shop", 0.0) for _ in range(3)] == [1, 1, 1]
    assert rows.reads == 1
    rows.values["shop"] = 2
    announce(store, feed, "mail")
    assert cache.get("shop", 0.0) == 1

    announce(store, feed, "shop")

    assert cache.get("shop", 0.0) == 2


def test_a_key_without_a_value_is_read_each_time(rows: Rows, cache: FeedCache[str, int]) -> None:
    assert [cache.get("unknown", 0.0) for _ in range(3)] == [None, None, None]
    assert rows.reads == 3


def test_a_value_that_changes_while_it_is_read_is_not_cached(
    store: Store, feed: ChangeFeed, rows: Rows, cache: FeedCache[str, int]
) -> None:
    def change() -> None:
        rows.values["shop"] = 2
        announce(store, feed, "shop")

    rows.before_return = change

    assert cache.get("shop", 0.0) == 1
    assert cache.find("shop") is None
    assert cache.get("shop", 0.0) == 2


def test_a_value_that_is_being_read_when_the_whole_feed_is_read_is_not_cached(feed: ChangeFeed, rows: Rows) -> None:
    cache: FeedCache[str, int] = FeedCache(feed, rows.load, changed_client, max_entries=2)

    def reload() -> None:
        rows.values["shop"] = 2
        feed.uptime = lambda: 1000.0 + 2 * 3600
        feed.refresh()

    rows.before_return = reload

    assert cache.get("shop", 0.0) == 1
    assert cache.get("shop", 0.0) == 2


def test_a_change_between_two_threads_that_read_one_value_leaves_no_old_value(
    store: Store, feed: ChangeFeed, rows: Rows, cache: FeedCache[str, int]
) -> None:
    """The slow thread has read the old value, the fast one the new value: the slow one comes last."""
    has_read, may_return = threading.Event(), threading.Event()

    def pause() -> None:
        has_read.set()
        assert may_return.wait(10)

    rows.before_return = pause
    slow = threading.Thread(target=cache.load, args=("shop", 0.0))
    slow.start()
    assert has_read.wait(10)
    rows.values["shop"] = 2
    announce(store, feed, "shop")
    assert cache.get("shop", 0.0) == 2
    may_return.set()
    slow.join(10)

    assert cache.find("shop") == 2


def test_all_values_are_dropped_when_the_whole_feed_is_read(
    feed: ChangeFeed, rows: Rows, cache: FeedCache[str, int]
) -> None:
    cache.get("shop", 0.0)
    cache.get("mail", 0.0)
    feed.uptime = lambda: 1030.0
    feed.invalidate()
    feed.refresh()
    assert cache.find("shop") == 1

    feed._position = None
    feed._reloaded_at = (float("-inf"), float("-inf"))
    feed.invalidate()
    feed.refresh()

    assert cache.find("shop") is None
    assert cache.find("mail") is None


def test_a_value_expires_by_a_clock_that_nobody_can_set(
    feed: ChangeFeed, rows: Rows, cache: FeedCache[str, int]
) -> None:
    cache.get("shop", 0.0)

    assert cache.get_without_refresh("shop", 1e9) == 1
    assert rows.reads == 1
    feed.uptime = lambda: 1059.9
    assert cache.find("shop") == 1
    feed.uptime = lambda: 1060.0
    assert cache.find("shop") is None


def test_a_value_can_decide_how_long_it_is_used(feed: ChangeFeed, rows: Rows) -> None:
    rows.values = {"shop": 60, "mail": 5}
    cache: FeedCache[str, int] = FeedCache(feed, rows.load, changed_client, max_entries=2, ttl_s=float)
    cache.get("shop", 0.0)
    cache.get("mail", 0.0)

    feed.uptime = lambda: 1005.0

    assert (cache.find("shop"), cache.find("mail")) == (60, None)


def test_the_value_that_was_added_first_is_dropped_if_there_are_too_many(
    rows: Rows, cache: FeedCache[str, int]
) -> None:
    rows.values["third"] = 3
    for key in ("shop", "mail", "shop", "third"):
        cache.get(key, 0.0)

    assert [cache.find(key) for key in ("shop", "mail", "third")] == [None, 1, 3]


@pytest.mark.parametrize("module", [resources, signing_keys], ids=["resources", "signing keys"])
def test_resources_and_keys_that_change_while_they_are_read_are_read_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    list_all: Callable[[Store], object] = module.list_all
    reads = []

    def change_during_first_read(store: Store) -> object:
        rows = list_all(store)
        reads.append(store)
        if len(reads) == 1:
            runtime.store.write_all(change_feed.add("changed", "resources"), change_feed.add("changed", "keys"))
        return rows

    runtime.feed.refresh()
    runtime.resources.invalidate()
    runtime.keys.invalidate_cache()
    monkeypatch.setattr(module, "list_all", change_during_first_read)
    for _ in range(4):
        runtime.resources.all()
        runtime.keys.jwks(runtime.clock())

    assert len(reads) == 2


@pytest.mark.parametrize("reading", ["all clients", "the changed client"])
def test_an_origin_that_changes_while_origins_are_read_is_read_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    name = "list_redirect_uris" if reading == "all clients" else "find"
    read: Callable[..., object] = getattr(clients, name)
    reads = []
    if reading == "the changed client":
        runtime.origins.is_registered("https://app.example.org", runtime.clock())
        runtime.store.write_all(change_feed.add("changed", "app"))

    def change_during_first_read(*arguments: object) -> object:
        result = read(*arguments)
        reads.append(name)
        if len(reads) == 1:
            runtime.store.write_all(change_feed.add("changed", "app"))
        return result

    monkeypatch.setattr(clients, name, change_during_first_read)
    for _ in range(4):
        runtime.origins.is_registered("https://app.example.org", runtime.clock())

    assert len(reads) == 2


def test_a_plan_that_changes_while_it_is_read_is_read_again(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    find, reads = subscriptions.find, []

    def change_during_first_read(store: Store, client_id: str) -> object:
        subscription = find(store, client_id)
        reads.append(client_id)
        if len(reads) == 1:
            runtime.store.write_all(change_feed.add("changed", client_id))
        return subscription

    monkeypatch.setattr(subscriptions, "find", change_during_first_read)
    for _ in range(4):
        runtime.subscriptions.get_plan_name("shop", runtime.clock())

    assert reads == ["shop", "shop"]


def test_an_expired_value_is_found_if_it_is_requested(feed: ChangeFeed, cache: FeedCache[str, int]) -> None:
    cache.get("shop", 0.0)

    feed.uptime = lambda: 1060.0

    assert cache.find("shop", expired=True) == 1
