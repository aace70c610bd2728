"""What a call costs, what is given back, what the fields say: the same on every store of counters."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from tests.support.browser_client import Clock
from valetkey.rate_limiting.address import caller_address, caller_network
from valetkey.rate_limiting.circuit_breaker_counters import CircuitBreakerCounters
from valetkey.rate_limiting.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limit import LEASE_DURATION_S, Limit, parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.redis_counters import RedisCounters
from valetkey.rate_limiting.sql_counters import SqlCounters, SqliteCounters
from valetkey.storage.engine.transaction import StoreUnavailable

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


def test_processes_share_what_is_left(counters: Counters, key: str) -> None:
    one, other = Limiter(counters), Limiter(counters)

    admitted = [process.spend(key, TEN, START).is_admitted for _ in range(10) for process in (one, other)]

    assert admitted.count(True) == 10


def test_a_call_may_cost_more(limiter: Limiter, key: str) -> None:
    assert limiter.spend(key, TEN, START, cost=7).is_admitted
    assert not limiter.spend(key, TEN, START, cost=4).is_admitted
    assert limiter.spend(key, TEN, START, cost=3).is_admitted
    assert not limiter.spend(key, TEN, START).is_admitted


def test_a_refused_dear_call_does_not_stop_a_cheap_one(limiter: Limiter, key: str) -> None:
    limiter.spend(key, TEN, START, cost=8)
    assert not limiter.spend(key, TEN, START, cost=5).is_admitted

    assert limiter.spend(key, TEN, START).is_admitted


def test_what_is_given_back_can_be_spent_again(limiter: Limiter, key: str) -> None:
    for _ in range(10):
        limiter.spend(key, TEN, START)
    assert not limiter.spend(key, TEN, START).is_admitted

    limiter.refund_best_effort(key, TEN, cost=2)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(3)] == [True, True, False]


def test_giving_back_to_a_key_that_nobody_knows_is_harmless(limiter: Limiter, key: str) -> None:
    limiter.refund_best_effort(key, TEN)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(11)].count(True) == 10


def test_keys_do_not_know_each_other(limiter: Limiter, key: str) -> None:
    for _ in range(11):
        limiter.spend(key, TEN, START)

    assert limiter.spend(f"{key} other", TEN, START).is_admitted


def test_a_caller_learns_what_remains_and_when_to_come_back(limiter: Limiter, key: str) -> None:
    first = limiter.spend(key, TEN, START)
    assert (first.remaining, first.retry_after) == (9, 0)
    for _ in range(9):
        last = limiter.spend(key, TEN, START)
    assert last.remaining == 0

    refused = limiter.spend(key, TEN, START)

    assert not refused.is_admitted
    assert refused.retry_after == pytest.approx(6, abs=0.01)
    assert limiter.spend(key, TEN, START + refused.retry_after + 1e-3).is_admitted


def test_pruning_forgets_full_budgets_only(counters: Counters, key: str) -> None:
    limiter = Limiter(counters)
    limiter.spend(key, TEN, START, cost=10)
    limiter.prune(START + 30)

    assert not Limiter(counters).spend(key, TEN, START + 30, cost=6).is_admitted
    assert Limiter(counters).spend(key, TEN, START + 30, cost=5).is_admitted


def test_a_lease_risks_some_seconds_of_a_slow_budget_at_the_most(counters: Counters, key: str) -> None:
    """What a lease leaves unused is lost: of a thousand calls a day nothing is."""
    day = Limit(1000, 86400, 1000)
    limiter = Limiter(counters)
    for n in range(25):
        assert limiter.spend(key, day, START + n / 100, cost=20).is_admitted

    later = Limiter(counters).spend(key, day, START + 10, cost=20)

    assert (later.is_admitted, later.remaining) == (True, 480)


def test_another_limit_of_the_same_name_is_another_budget(counters: Counters, key: str) -> None:
    """As after a new release: what was spent of ten an hour says nothing of six hundred a minute."""
    before, after = Limit(10, 3600, 10), Limit(600, 60, 600)
    for _ in range(10):
        assert Limiter(counters).spend(key, before, START).is_admitted

    limiter = Limiter(counters)
    assert limiter.spend(key, before, START).is_admitted is False
    assert limiter.standing_refusal(key, after, START) is None
    assert limiter.spend_lease(key, after, START) is None
    assert limiter.spend(key, after, START).remaining == 599
    assert limiter.peek(key, before, START).remaining == 0


def test_a_lease_pays_for_its_own_limit_only(counters: Counters, key: str) -> None:
    limiter, hot = Limiter(counters), Limit(6000, 60, 6000)
    for _ in range(25):
        limiter.spend(key, hot, START)

    assert limiter.spend_lease(key, hot, START) is not None
    assert limiter.spend_lease(key, Limit(60_000, 60, 60_000), START) is None


def test_pruning_goes_through_all_keys_in_pieces(counters: Counters, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetkey.storage.limits._MAX_KEYS_PER_BATCH", 3)
    keys = [f"{key} {n}" for n in range(20)]
    for n, one in enumerate(keys):
        counters.spend(one, START, 60.0 if n % 5 == 4 else 1.0, START + 60)

    counters.prune(START + 30)

    told = [counters.read(one, 0.0) for one in keys]
    assert [tat for n, tat in enumerate(told) if n % 5 == 4] == [START + 60] * 4
    if isinstance(counters, SqlCounters):
        assert [tat for n, tat in enumerate(told) if n % 5 != 4] == [0.0] * 16


def test_a_new_file_can_be_pruned_and_refunded_before_it_is_spent_from(tmp_path: Path) -> None:
    """``valetkey prune`` on the first day."""
    counters = SqliteCounters(tmp_path / "new.db")

    counters.prune(START)
    assert counters.refund("nobody", 1.0, None) is False

    counters.close()


def test_counters_that_cannot_be_reached_say_so(tmp_path: Path) -> None:
    for counters in (RedisCounters("redis://127.0.0.1:1/0"), SqliteCounters(tmp_path / "no" / "such" / "folder.db")):
        with pytest.raises(StoreUnavailable):
            counters.spend("key", START, 1.0, START + 1)
        counters.close()


def test_memory_makes_room_without_giving_anybody_budget_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried against a memory that forgets whatever came back until the end of a lease that begins now."""
    monkeypatch.setattr("valetkey.rate_limiting.counters._MAX_KEYS", 2)
    counters = MemoryCounters()
    counters.spend("spent", START, 60.0, START + 60)
    for n in range(5):
        counters.spend(f"key {n}", START + 2 * n, 0.1, START + 60)

    assert counters.spend("spent", START + 8, 9.0, START + 68)[0] is False
    counters.spend("soon back", START + 12, 0.3, START + 60)
    with pytest.raises(StoreUnavailable):
        counters.spend("leases", START + 12 + LEASE_DURATION_S, 0.1, START + 60)
    assert counters.read("soon back", 0.0) == START + 12.3


def test_memory_stays_small_whoever_calls_and_tells_newcomers_that_it_is_full() -> None:
    counters, limit = MemoryCounters(), Limit(10, 60, 10)
    limiter, told = Limiter(counters), Counter[bool]()
    for n in range(120_000):
        try:
            told[limiter.spend(f"address|{n}", limit, START).is_admitted] += 1
        except StoreUnavailable:
            told[False] += 1

    assert told == {True: 100_000, False: 20_000}
    assert not limiter.spend("address|0", limit, START, cost=10).is_admitted
    later = Limiter(counters)
    assert later.spend("a newcomer", limit, START + 60).is_admitted


def test_counters_that_are_down_are_asked_once_a_second() -> None:
    counters, steady = _Down(), Clock(0)
    circuit = CircuitBreakerCounters(counters, steady)

    def ask() -> bool:
        try:
            return circuit.spend("key", START, 1.0, START + 60)[0]
        except StoreUnavailable:
            return False

    assert [ask() for _ in range(100)] == [False] * 100
    assert counters.asked == 1
    steady.forward(1)
    assert not ask()
    assert counters.asked == 2
    counters.is_down = False
    assert not ask()
    steady.forward(1)
    assert [ask() for _ in range(5)] == [True] * 5


class _Down(MemoryCounters):
    asked, is_down = 0, True

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        self.asked += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return super().spend(key, base, cost, latest)


def test_what_is_undone_was_never_spent(limiter: Limiter, key: str) -> None:
    spent = limiter.spend(key, TEN, START)
    limiter.refund(key, spent, START)

    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(11)].count(True) == 10


def test_a_call_of_a_lease_is_undone_in_the_lease(counters: Counters, key: str) -> None:
    limiter, limit = Limiter(counters), Limit(100, 1, 200)
    for _ in range(30):
        spent = limiter.spend(key, limit, START)
    before = spent.remaining

    limiter.refund(key, spent, START)

    assert limiter.spend(key, limit, START).remaining == before


def test_nothing_is_undone_where_others_spent_since(counters: Counters, key: str) -> None:
    """What they were charged may have counted on it."""
    one, other = Limiter(counters), Limiter(counters)
    spent = one.spend(key, TEN, START)
    other.spend(key, TEN, START)

    one.refund(key, spent, START)

    assert [other.spend(key, TEN, START).is_admitted for _ in range(9)].count(True) == 8


def test_what_may_have_come_back_by_itself_is_not_given_back(limiter: Limiter, key: str) -> None:
    fast = Limit(10, 1, 10)
    for _ in range(10):
        limiter.spend(key, fast, START)

    limiter.refund_best_effort(key, fast)

    assert not limiter.spend(key, fast, START).is_admitted


def test_a_look_takes_nothing(counters: Counters, key: str) -> None:
    limiter = Limiter(counters)
    for _ in range(4):
        limiter.spend(key, TEN, START)

    looks = [Limiter(counters).peek(key, TEN, START) for _ in range(20)]

    assert {(one.is_admitted, one.remaining, one.reset_after) for one in looks} == {(True, 6, 24.0)}
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
def test_a_limit_is_read_as_it_is_said(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    "text", ["", "100", "0/minute", "-1/minute", "1/0s", "1/fortnight", "1.5/minute", "1/minute burst 0", "x/minute"]
)
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="100/minute"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
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
def test_one_person_has_an_address_or_a_whole_64(one: str | None, other: str | None, same: bool) -> None:
    assert (caller_network(one) == caller_network(other)) is same


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
def test_only_a_trusted_proxy_is_believed(remote: str | None, forwarded: str | None, caller: str | None) -> None:
    """RFC 9700 §4.13: whatever the caller itself wrote stands further left."""
    assert caller_address(remote, forwarded, ("10.0.0.0/8",)) == caller
