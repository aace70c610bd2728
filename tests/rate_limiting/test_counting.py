"""Charges, refunds, leases and pruning, with each counter backend; the parsing of limits and addresses."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from tests.support.clock import Clock
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.address import caller_address, caller_network
from valetkey.rate_limiting.backends.circuit_breaker_counters import CircuitBreakerCounters
from valetkey.rate_limiting.backends.counters import Counters, MemoryCounters
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.backends.sql_counters import SqlCounters, SqliteCounters
from valetkey.rate_limiting.limit import LONG_LEASE_DURATION_S, Limit, parse_limit
from valetkey.rate_limiting.limiter import Limiter

START = 1_900_000_000.0
TEN = Limit(10, 60, 10)
_keys = count()


@pytest.fixture
def key() -> str:
    return f"counting-{next(_keys)}"


@pytest.fixture
def limiter(counters: Counters) -> Limiter:
    return Limiter(counters)


def test_refused_calls_cost_nothing(limiter: Limiter, key: str) -> None:
    for _ in range(10):
        assert limiter.spend(key, TEN, START).is_admitted
    for n in range(200):
        assert not limiter.spend(key, TEN, START + n / 100).is_admitted

    assert limiter.spend(key, TEN, START + 6).is_admitted
    assert not limiter.spend(key, TEN, START + 6).is_admitted


def test_processes_share_one_budget(counters: Counters, key: str) -> None:
    first, second = Limiter(counters), Limiter(counters)

    admitted = [process.spend(key, TEN, START).is_admitted for _ in range(10) for process in (first, second)]

    assert admitted.count(True) == 10


def test_a_call_can_count_as_several(limiter: Limiter, key: str) -> None:
    assert limiter.spend(key, TEN, START, cost=7).is_admitted
    assert not limiter.spend(key, TEN, START, cost=4).is_admitted
    assert limiter.spend(key, TEN, START, cost=3).is_admitted
    assert not limiter.spend(key, TEN, START).is_admitted


def test_a_refused_expensive_call_does_not_block_a_cheap_one(limiter: Limiter, key: str) -> None:
    limiter.spend(key, TEN, START, cost=8)
    assert not limiter.spend(key, TEN, START, cost=5).is_admitted

    assert limiter.spend(key, TEN, START).is_admitted


def test_refunded_calls_can_be_spent_again(limiter: Limiter, key: str) -> None:
    for _ in range(10):
        limiter.spend(key, TEN, START)
    assert not limiter.spend(key, TEN, START).is_admitted

    limiter.refund_best_effort(key, TEN, cost=2)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(3)] == [True, True, False]


def test_a_refund_to_an_unused_key_does_not_enlarge_its_budget(limiter: Limiter, key: str) -> None:
    limiter.refund_best_effort(key, TEN)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(11)].count(True) == 10


def test_each_key_has_its_own_budget(limiter: Limiter, key: str) -> None:
    for _ in range(11):
        limiter.spend(key, TEN, START)

    assert limiter.spend(f"{key} other", TEN, START).is_admitted


def test_the_result_has_the_remaining_calls_and_the_time_to_retry(limiter: Limiter, key: str) -> None:
    first = limiter.spend(key, TEN, START)
    assert (first.remaining, first.retry_after) == (9, 0)
    for _ in range(9):
        last = limiter.spend(key, TEN, START)
    assert last.remaining == 0

    refused = limiter.spend(key, TEN, START)

    assert not refused.is_admitted
    assert refused.retry_after == pytest.approx(6, abs=0.01)
    assert limiter.spend(key, TEN, START + refused.retry_after + 1e-3).is_admitted


def test_pruning_deletes_only_full_budgets(counters: Counters, key: str) -> None:
    limiter = Limiter(counters)
    limiter.spend(key, TEN, START, cost=10)
    limiter.prune(START + 30)

    assert not Limiter(counters).spend(key, TEN, START + 30, cost=6).is_admitted
    assert Limiter(counters).spend(key, TEN, START + 30, cost=5).is_admitted


def test_a_lease_takes_at_most_a_few_seconds_of_a_slow_budget(counters: Counters, key: str) -> None:
    """Unused calls of a lease are lost: of a limit of a thousand calls a day, none are."""
    day = Limit(1000, 86400, 1000)
    limiter = Limiter(counters)
    for n in range(25):
        assert limiter.spend(key, day, START + n / 100, cost=20).is_admitted

    later = Limiter(counters).spend(key, day, START + 10, cost=20)

    assert (later.is_admitted, later.remaining) == (True, 480)


def test_a_steady_caller_of_a_slow_budget_loses_no_call_to_a_lease() -> None:
    counters, day = MemoryCounters(), Limit(1000, 86400, 1000)
    limiter = Limiter(counters)
    for number in range(30):
        assert limiter.spend("slow", day, START + number / 8).is_admitted

    assert Limiter(counters).peek("slow", day, START + 5).remaining == 970


def test_a_steady_caller_is_counted_about_once_a_second_and_has_its_burst_after_a_pause() -> None:
    counted: list[float] = []

    class Counted(MemoryCounters):
        def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
            counted.append(min_tat)
            return super().spend(key, min_tat, cost_s, max_tat)

    limiter, limit, calls_per_second = Limiter(Counted()), parse_limit("1200/minute burst 120"), 8
    times = [START + number / calls_per_second for number in range(10 * calls_per_second)]

    assert all(limiter.spend("steady", limit, now).is_admitted for now in times)
    assert len(counted) <= 18
    later = times[-1] + 6
    assert [limiter.spend("steady", limit, later).is_admitted for _ in range(121)] == [True] * 120 + [False]


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("processes", [1, 4])
def test_a_caller_within_its_rate_is_never_refused(share: float, processes: int) -> None:
    """Unused calls of leases are lost, which must not use up the budget."""
    limit, counters, arrivals = parse_limit("600/minute burst 60"), MemoryCounters(), random.Random(3)
    limiters = [Limiter(counters) for _ in range(processes)]
    now, refused = START, 0
    while (now := now + arrivals.expovariate(share * 10)) < START + 300:
        refused += not arrivals.choice(limiters).spend("random", limit, now).is_admitted

    assert refused == 0


@pytest.mark.parametrize("text", ["60/minute burst 10", "100/minute burst 100", "1200/minute burst 120", "10/second"])
def test_the_whole_burst_of_a_new_caller_is_admitted_however_long_it_takes(text: str) -> None:
    """A lease reserves budget; it must not be what a burst that takes a second needs."""
    limit = parse_limit(text)
    for duration_s in (0.0, 0.3, 0.6, 1.2, 3.0):
        limiter = Limiter(MemoryCounters())
        times = [START + duration_s * number / limit.burst for number in range(limit.burst)]
        assert all(limiter.spend("burst", limit, now).is_admitted for now in times), duration_s


def test_changing_the_limit_of_a_key_starts_a_new_budget(counters: Counters, key: str) -> None:
    """As after a new release: calls spent of ten an hour do not count against six hundred a minute."""
    before, after = Limit(10, 3600, 10), Limit(600, 60, 600)
    for _ in range(10):
        assert Limiter(counters).spend(key, before, START).is_admitted

    limiter = Limiter(counters)
    assert limiter.spend(key, before, START).is_admitted is False
    assert limiter.standing_refusal(key, after, START) is None
    assert limiter.spend_lease(key, after, START) is None
    assert limiter.spend(key, after, START).remaining == 599
    assert limiter.peek(key, before, START).remaining == 0


def test_a_lease_is_used_only_for_its_own_limit(counters: Counters, key: str) -> None:
    limiter, hot = Limiter(counters), Limit(6000, 60, 6000)
    for _ in range(25):
        limiter.spend(key, hot, START)

    assert limiter.spend_lease(key, hot, START) is not None
    assert limiter.spend_lease(key, Limit(60_000, 60, 60_000), START) is None


def test_pruning_deletes_all_full_budgets_in_batches(
    counters: Counters, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valetkey.storage.limits._MAX_KEYS_PER_BATCH", 3)
    keys = [f"{key} {n}" for n in range(20)]
    for n, name in enumerate(keys):
        counters.spend(name, START, 60.0 if n % 5 == 4 else 1.0, START + 60)

    counters.prune(START + 30)

    tats = [counters.read(name, 0.0) for name in keys]
    assert [tat for n, tat in enumerate(tats) if n % 5 == 4] == [START + 60] * 4
    if isinstance(counters, SqlCounters):
        assert [tat for n, tat in enumerate(tats) if n % 5 != 4] == [0.0] * 16


def test_a_new_sqlite_file_can_be_pruned_and_refunded_before_the_first_call(tmp_path: Path) -> None:
    """As ``valetkey prune`` does before the first request."""
    counters = SqliteCounters(tmp_path / "new.db")

    counters.prune(START)
    assert counters.refund("unused", 1.0, None) is False

    counters.close()


def test_unreachable_counters_raise_store_unavailable(tmp_path: Path) -> None:
    for counters in (
        RedisCounters("redis://127.0.0.1:1/0", "https://api.example"),
        SqliteCounters(tmp_path / "no" / "such" / "folder.db"),
    ):
        with pytest.raises(BackendUnavailable):
            counters.spend("key", START, 1.0, START + 1)
        counters.close()


@pytest.mark.parametrize("url", ["redis://:w0rd/x@redis.example/0", "redis://redis.example/0?socket_timeout=w0rd"])
def test_an_invalid_redis_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BackendUnavailable, match=r"redis_url is not a URL .* percent-encode") as refusal:
        RedisCounters(url, "https://api.example")

    assert "w0rd" not in "".join(traceback.format_exception(refusal.value))


def test_freeing_memory_restores_no_spent_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a key is removed whose budget is full only at the end of a lease that begins now."""
    monkeypatch.setattr("valetkey.rate_limiting.backends.counters._MAX_KEYS", 2)
    counters = MemoryCounters()
    counters.spend("spent", START, 60.0, START + 60)
    for n in range(5):
        counters.spend(f"key {n}", START + 4 * n, 0.1, START + 60)

    assert counters.spend("spent", START + 16, 9.0, START + 68)[0] is False
    counters.spend("nearly full", START + 20, 0.3, START + 60)
    with pytest.raises(BackendUnavailable):
        counters.spend("leases", START + 20 + LONG_LEASE_DURATION_S, 0.1, START + 60)
    assert counters.read("nearly full", 0.0) == START + 20.3


def test_memory_counters_are_bounded_and_refuse_new_keys_when_full() -> None:
    counters, limit = MemoryCounters(), Limit(10, 60, 10)
    limiter, results = Limiter(counters), Counter[bool]()
    for n in range(120_000):
        try:
            results[limiter.spend(f"address|{n}", limit, START).is_admitted] += 1
        except BackendUnavailable:
            results[False] += 1

    assert results == {True: 100_000, False: 20_000}
    assert not limiter.spend("address|0", limit, START, cost=10).is_admitted
    later = Limiter(counters)
    assert later.spend("a new key", limit, START + 60).is_admitted


def test_unavailable_counters_are_called_once_a_second() -> None:
    counters, clock = _FailingCounters(), Clock(0)
    circuit = CircuitBreakerCounters(counters, clock)

    def spend() -> bool:
        try:
            return circuit.spend("key", START, 1.0, START + 60)[0]
        except BackendUnavailable:
            return False

    assert [spend() for _ in range(100)] == [False] * 100
    assert counters.spend_calls == 1
    clock.forward(1)
    assert not spend()
    assert counters.spend_calls == 2
    counters.is_down = False
    assert not spend()
    clock.forward(1)
    assert [spend() for _ in range(5)] == [True] * 5


class _FailingCounters(MemoryCounters):
    spend_calls, is_down = 0, True

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        self.spend_calls += 1
        if self.is_down:
            raise BackendUnavailable("down")
        return super().spend(key, min_tat, cost_s, max_tat)


def test_a_refunded_call_leaves_the_budget_full(limiter: Limiter, key: str) -> None:
    spent = limiter.spend(key, TEN, START)
    limiter.refund(key, spent, START)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(11)].count(True) == 10


def test_a_call_from_a_lease_is_refunded_to_the_lease(counters: Counters, key: str) -> None:
    limiter, limit = Limiter(counters), Limit(100, 1, 200)
    for _ in range(30):
        spent = limiter.spend(key, limit, START)
    before = spent.remaining

    limiter.refund(key, spent, START)

    assert limiter.spend(key, limit, START).remaining == before


def test_a_call_is_not_refunded_if_another_process_has_spent_since(counters: Counters, key: str) -> None:
    """The charge of the later call depends on the earlier one."""
    first, second = Limiter(counters), Limiter(counters)
    spent = first.spend(key, TEN, START)
    second.spend(key, TEN, START)

    first.refund(key, spent, START)

    assert [second.spend(key, TEN, START).is_admitted for _ in range(9)].count(True) == 8


def test_budget_that_may_have_been_replenished_is_not_refunded(limiter: Limiter, key: str) -> None:
    fast = Limit(10, 1, 10)
    for _ in range(10):
        limiter.spend(key, fast, START)

    limiter.refund_best_effort(key, fast)

    assert not limiter.spend(key, fast, START).is_admitted


def test_peek_spends_nothing(counters: Counters, key: str) -> None:
    limiter = Limiter(counters)
    for _ in range(4):
        limiter.spend(key, TEN, START)

    results = [Limiter(counters).peek(key, TEN, START) for _ in range(20)]

    assert {(result.is_admitted, result.remaining, result.reset_after) for result in results} == {(True, 6, 24.0)}
    assert limiter.spend(key, TEN, START, cost=6).is_admitted
    empty = limiter.peek(key, TEN, START)
    assert (empty.is_admitted, empty.remaining) == (False, 0)
    assert empty.retry_after == pytest.approx(6)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/minute", Limit(100, 60, 10)),
        ("100/minute burst 20", Limit(100, 60, 20)),
        ("5/second", Limit(5, 1, 1)),
        ("7 / 30s", Limit(7, 30, 1)),
        ("1000/hour", Limit(1000, 3600, 100)),
        (" 10/day ", Limit(10, 86400, 1)),
    ],
)
def test_limits_are_parsed(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    "text", ["", "100", "0/minute", "-1/minute", "1/0s", "1/fortnight", "1.5/minute", "1/minute burst 0", "x/minute"]
)
def test_any_other_text_raises_an_error_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="100/minute"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.1:567", True),
        ("192.0.2.1:567", "192.0.2.2:567", False),
        ("2001:db8:1:2::1", "[2001:db8:1:2::9]:567", True),
        ("[2001:db8:1:2::1]", "[2001:db8:1:3::1]:80", False),
        ("192.0.2.1:99999999", None, True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        (None, "nonsense", True),
    ],
)
def test_one_caller_is_an_ipv4_address_or_an_ipv6_64_network(
    first: str | None, second: str | None, is_same: bool
) -> None:
    assert (caller_network(first) == caller_network(second)) is is_same


@pytest.mark.parametrize(
    ("remote", "forwarded", "caller"),
    [
        ("192.0.2.9", "1.1.1.1", "192.0.2.9"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1:567", "1.1.1.1:567"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2:80", "1.1.1.1"),
        (None, "1.1.1.1", None),
    ],
)
def test_forwarded_addresses_count_only_from_trusted_proxies(
    remote: str | None, forwarded: str | None, caller: str | None
) -> None:
    """RFC 9700 §4.13: the entries that the caller can write are further left."""
    assert caller_address(remote, forwarded, ("10.0.0.0/8",)) == caller
