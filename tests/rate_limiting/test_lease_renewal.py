"""Leases of steady callers, renewed before they end: the bound holds, and requests seldom need the shared counter."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import pytest

from tests.support.limit_bound import excess
from valetkey.rate_limiting.backends.counters import Counters, CountersUnavailable, MemoryCounters, Spend, SpendResult
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter

START = 1_900_000_000.0
LIMIT = parse_limit("1200/minute burst 120")
CALLS_PER_SECOND = 8


class _CountedSpends(MemoryCounters):
    """Counters that count how often requests and renewals use them."""

    by_requests = renewed_leases = renewals = 0

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        self.by_requests += 1
        return super().spend(key, min_tat, cost_s, max_tat)

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        self.renewals += 1
        self.renewed_leases += len(spends)
        return [super(_CountedSpends, self).spend(*spend) for spend in spends]


def call_steadily(limiter: Limiter, seconds: int, *, begin: float = START) -> list[float]:
    """Make calls at regular times, and renew leases every 50 ms; return the times of the admitted calls."""
    admitted = []
    for tick in range(seconds * 20):
        now = begin + tick / 20
        if tick * CALLS_PER_SECOND % 20 < CALLS_PER_SECOND and limiter.spend("steady", LIMIT, now).is_admitted:
            admitted.append(now)
        limiter.renewal.renew()
    return admitted


def call_until_a_lease_is_in_reserve(limiter: Limiter) -> float:
    """Make calls at regular times until the next lease was taken, and return the time of the next call."""
    call_steadily(limiter, 10)
    now = START + 10
    while limiter._keys["steady"].next_lease is None:
        limiter.spend("steady", LIMIT, now)
        limiter.renewal.renew()
        now += 1 / CALLS_PER_SECOND
    return now


def test_requests_of_a_steady_caller_do_not_need_the_counters() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    call_steadily(limiter, 3)  # it is not known as steady yet
    before = counters.by_requests

    assert len(call_steadily(limiter, 20, begin=START + 3)) == 20 * CALLS_PER_SECOND
    assert counters.by_requests == before
    assert counters.renewed_leases <= 24


def test_a_new_caller_has_its_first_lease_after_half_a_second() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    calls = [START + number / CALLS_PER_SECOND for number in range(CALLS_PER_SECOND)]
    needed = []
    for now in calls:
        before = counters.by_requests
        assert limiter.spend("new", LIMIT, now).is_admitted
        needed.append(counters.by_requests > before)

    half = CALLS_PER_SECOND // 2
    assert needed == [True] * half + [True] + [False] * (half - 1)


def test_two_calls_within_half_a_second_make_no_caller_steady() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    for now in (START, START + 0.5, START + 0.9):
        assert limiter.spend("slow", LIMIT, now).is_admitted

    assert limiter._keys["slow"].lease_ends_at == 0.0


def test_leases_of_many_callers_are_renewed_together() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    for tick in range(6 * CALLS_PER_SECOND):
        for caller in range(50):
            assert limiter.spend(f"caller {caller}", LIMIT, START + tick / CALLS_PER_SECOND).is_admitted
        limiter.renewal.renew()

    assert counters.renewed_leases >= 4 * 50 / 2
    assert counters.renewals <= 6


@pytest.mark.parametrize("seed", range(30))
def test_no_window_exceeds_the_bound(seed: int) -> None:
    """Three processes renew leases late or early; then all of them spend what they can get."""
    arrivals, counters = random.Random(seed), MemoryCounters()
    limiters = [Limiter(counters) for _ in range(3)]
    now, admitted = START, []
    for _ in range(600):
        now += arrivals.expovariate(3 * CALLS_PER_SECOND)
        limiter = arrivals.choice(limiters)
        if limiter.spend("steady", LIMIT, now).is_admitted:
            admitted.append((now, 1))
        if arrivals.random() < 0.3:
            arrivals.choice(limiters).renewal.renew()
    for gap in (0.0, arrivals.uniform(0, 0.3), 0.99, 1.24):
        now += gap
        for limiter in limiters:
            admitted += [(now, 1) for _ in range(200) if limiter.spend("steady", LIMIT, now).is_admitted]
            limiter.renewal.renew()

    assert excess(admitted, LIMIT) <= 1e-3
    assert len(admitted) > 570, "a limiter that admits nothing would keep every bound"


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_caller_within_its_rate_is_never_refused(share: float, processes: int) -> None:
    counters, arrivals = MemoryCounters(), random.Random(7)
    limiters = [Limiter(counters) for _ in range(processes)]
    now, renewed_at, refused = START, START, 0
    while (now := now + arrivals.expovariate(share * 20)) < START + 300:
        refused += not arrivals.choice(limiters).spend("random", LIMIT, now).is_admitted
        if now - renewed_at > 0.05:
            renewed_at = now
            for limiter in limiters:
                limiter.renewal.renew()

    assert refused == 0


def test_after_a_pause_the_whole_burst_is_available() -> None:
    limiter = Limiter(MemoryCounters())
    call_steadily(limiter, 10)
    later = START + 10 + 7.5

    assert [limiter.spend("steady", LIMIT, later).is_admitted for _ in range(121)] == [True] * 120 + [False]


def test_after_a_pause_with_a_lease_in_reserve_leases_are_renewed_again() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    later = call_until_a_lease_is_in_reserve(limiter) + 30
    call_steadily(limiter, 3, begin=later)  # it is not known as steady yet
    before = counters.by_requests

    call_steadily(limiter, 20, begin=later + 3)

    assert counters.by_requests == before


def test_a_lease_in_reserve_that_has_ended_does_not_hide_a_standing_refusal() -> None:
    limiter = Limiter(MemoryCounters())
    later = call_until_a_lease_is_in_reserve(limiter) + 30
    while limiter.spend("steady", LIMIT, later).is_admitted:
        pass

    assert limiter.standing_refusal("steady", LIMIT, later + 0.001) is not None


def test_a_caller_that_has_slowed_down_gets_no_further_lease() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    call_steadily(limiter, 5)
    renewed = counters.renewed_leases

    for second in range(20):
        limiter.spend("steady", LIMIT, START + 6 + second)
        limiter.renewal.renew()

    assert counters.renewed_leases <= renewed + 1


def test_a_budget_that_another_process_has_used_up_gives_no_lease() -> None:
    counters = MemoryCounters()
    first, second = Limiter(counters), Limiter(counters)
    admitted = [(now, 1) for now in call_steadily(first, 10)]
    now = admitted[-1][0] + 0.1
    while not first.renewal._requests:
        admitted += [(now, 1) for _ in range(first.spend("steady", LIMIT, now).is_admitted)]
    admitted += [(now, 1) for _ in range(200) if second.spend("steady", LIMIT, now).is_admitted]

    first.renewal.renew()

    admitted += [(now, 1) for _ in range(200) if first.spend("steady", LIMIT, now).is_admitted]
    assert first._keys["steady"].next_lease is None
    assert excess(admitted, LIMIT) <= 1e-3


def test_requests_take_their_leases_themselves_while_nothing_is_renewed() -> None:
    limiter = Limiter(MemoryCounters())

    times = [START + number / CALLS_PER_SECOND for number in range(20 * CALLS_PER_SECOND)]
    assert all(limiter.spend("steady", LIMIT, now).is_admitted for now in times)


def test_an_outage_during_a_renewal_is_no_error() -> None:
    class Down(MemoryCounters):
        def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
            raise CountersUnavailable("down")

    limiter = Limiter(Down())

    with pytest.raises(CountersUnavailable):  # the circuit is open for the request that needs the counters next
        call_steadily(limiter, 20)


def test_a_lease_from_before_the_clock_was_set_back_is_not_used() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters)
    call_steadily(limiter, 10)
    before = counters.by_requests

    assert limiter.spend("steady", LIMIT, START - 3600).is_admitted
    assert counters.by_requests == before + 1


def test_a_thread_renews_leases_until_the_limiter_is_closed() -> None:
    counters = _CountedSpends()
    limiter = Limiter(counters, renews_in_background=True)
    deadline = time.monotonic() + 30
    while not counters.renewed_leases and time.monotonic() < deadline:
        assert limiter.spend("steady", LIMIT, time.time()).is_admitted
        time.sleep(1 / 20)
    assert counters.renewed_leases
    assert "valetkey-leases" in _names_of_threads()

    limiter.close()

    assert "valetkey-leases" not in _names_of_threads()


def test_the_thread_survives_an_error_of_the_backend(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(_CountedSpends):
        def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
            if not self.renewals:
                self.renewals = 1
                raise TypeError("a defect of the driver")
            return super().spend_all(spends)

    counters = Broken()
    limiter = Limiter(counters, renews_in_background=True)
    deadline = time.monotonic() + 30
    while not counters.renewed_leases and time.monotonic() < deadline:
        assert limiter.spend("steady", LIMIT, time.time()).is_admitted
        time.sleep(1 / 20)
    limiter.close()

    assert counters.renewed_leases
    assert "leases of rate limits cannot be renewed" in caplog.text


def test_several_counters_are_charged_together_as_one_by_one(counters: Counters) -> None:
    spends = [Spend(f"together {number}", START, 1.0 + number, START + 100) for number in range(99)]
    spends += [Spend("together, too much", START, 101.0, START + 100)]
    one_by_one = MemoryCounters()

    for _ in range(3):
        assert counters.spend_all(spends) == [one_by_one.spend(*spend) for spend in spends]


def _names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
