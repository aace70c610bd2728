"""Limits when a clock was fast and is set right, and when the clocks of two servers differ by up to a minute."""

from __future__ import annotations

from itertools import count

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.clock import Clock
from tests.support.limit_bound import excess
from valetkey import ResourceServer
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.runtime import Runtime

START = 1_900_000_000.0
TEN = Limit(10, 60, 10)
MANY = Limit(6000, 60, 600)
_keys = count()


@pytest.fixture
def key() -> str:
    return f"clock-{next(_keys)}"


@pytest.mark.parametrize("fast_by_s", [150.0, 3600.0, 86_400.0, 10 * 365 * 86_400.0])
def test_a_clock_that_was_fast_and_is_set_right_locks_nobody_out(
    counters: Counters, key: str, fast_by_s: float
) -> None:
    limiter = Limiter(counters)
    while limiter.spend(key, TEN, START + fast_by_s).is_admitted:
        pass

    assert limiter.peek(key, TEN, START).remaining == 10
    assert [limiter.spend(key, TEN, START).is_admitted for _ in range(11)] == [True] * 10 + [False]
    assert Limiter(counters).spend(key, TEN, START).retry_after <= 6.0


def test_a_lease_from_a_fast_clock_is_not_used_after_the_clock_is_set_right(counters: Counters, key: str) -> None:
    limiter = Limiter(counters)
    for n in range(60):
        limiter.spend(key, MANY, START + 3600 + n / 1000)

    assert limiter.spend_lease(key, MANY, START) is None
    admitted = sum(limiter.spend(key, MANY, START).is_admitted for _ in range(1000))
    assert 500 <= admitted <= 600


@pytest.mark.parametrize("offset_s", [-60.0, -1.0, 1.0, 60.0])
def test_clocks_that_differ_by_up_to_a_minute_share_one_budget(counters: Counters, key: str, offset_s: float) -> None:
    first, second = Limiter(counters), Limiter(counters)
    slow_period = Limit(10, 86_400, 10)

    admitted = [
        limiter.spend(key, slow_period, now).is_admitted
        for n in range(20)
        for limiter, now in ((first, START + n), (second, START + n + offset_s))
    ]

    assert admitted.count(True) == 10


def test_the_renewal_of_a_process_that_was_stopped_resets_no_counter(counters: Counters, key: str) -> None:
    """Others use up the budget while the process is stopped, with a request for a lease that is not sent yet."""
    clock, limit = Clock(START), Limit(6000, 3600, 600)
    stopped, running = Limiter(counters, clock), Limiter(counters, clock)
    while not stopped.renewal._requests:
        stopped.spend(key, limit, clock())
        clock.forward(0.25)
    clock.forward(62)
    while running.spend(key, limit, clock()).is_admitted:
        pass

    stopped.renewal.renew()

    clock.forward(2.5)
    assert sum(running.spend(key, limit, clock()).is_admitted for _ in range(20)) <= 5


@pytest.mark.parametrize("age_s", [62.0, 3600.0])
def test_a_call_of_a_process_that_was_stopped_before_it_counted_resets_no_counter(
    counters: Counters, key: str, age_s: float
) -> None:
    clock = Clock(START + age_s)
    while Limiter(counters, clock).spend(key, TEN, clock()).is_admitted:
        pass

    assert not Limiter(counters, clock).spend(key, TEN, START).is_admitted
    assert not Limiter(counters, clock).spend(key, TEN, clock()).is_admitted


def test_an_app_compares_the_times_of_calls_with_its_clock(runtime: Runtime) -> None:
    for limiter in runtime._limiters:
        while limiter.spend("app", TEN, runtime.clock()).is_admitted:
            pass
        limiter._keys.clear()
        assert not limiter.spend("app", TEN, runtime.clock() - 3600).is_admitted


def test_an_app_with_a_resource_server_compares_the_times_of_calls_with_its_clock(clock: Clock) -> None:
    app = Flask("api")
    ResourceServer(app, trusted_issuers=["https://id.example"], resource="https://api.example", clock=clock)
    limiter = app.extensions["valetkey"].admission.limiter
    while limiter.spend("app", TEN, clock()).is_admitted:
        pass
    limiter._keys.clear()

    assert not limiter.spend("app", TEN, clock() - 3600).is_admitted


Step = tuple[
    float, int, bool, int
]  # seconds by which the clock moves, number of calls, whether they are refunded, cost

steps = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([-3600.0, -90.0, -2.5, -1.5, -0.3, 0.0, 0.2, 0.5, 3.0, 3600.0]), st.floats(-5, 5)),
        st.sampled_from([1, 2, 21, 60, 250, 700]),
        st.booleans(),
        st.sampled_from([1, 1, 3]),
    ),
    max_size=10,
)


@settings(max_examples=400, deadline=None)
@given(plan=steps, limit=st.sampled_from([MANY, TEN, Limit(100, 1, 100), Limit(1200, 60, 120)]))
@example(plan=[(3600.0, 60, False, 1), (-3600.0, 700, True, 1), (0.0, 700, False, 1)], limit=MANY)
@example(plan=[(3600.0, 60, False, 1), (-3600.0, 1, False, 1), (3600.0, 700, False, 1)], limit=MANY)
@example(plan=[(0.0, 60, False, 1), (-3600.0, 250, True, 1), (3600.0, 700, False, 1)], limit=Limit(100, 1, 100))
def test_no_window_between_two_steps_back_exceeds_the_bound(plan: list[Step], limit: Limit) -> None:
    """Each time that the clock is set back, a budget may start anew; until the next time, the bound holds."""
    limiter, now, admitted, windows = Limiter(MemoryCounters()), START, [], []
    for seconds, calls, are_refunded, cost in plan:
        now += seconds
        if seconds < 0:
            windows.append(admitted)
            admitted = []
        for _ in range(calls):
            if cost > limit.burst:
                continue
            if limiter.spend_lease("key", limit, now, cost) is not None:
                admitted.append((now, cost))
                continue
            result = limiter.spend("key", limit, now, cost)
            if result.is_admitted and are_refunded:
                limiter.refund("key", result, now, cost)
            elif result.is_admitted:
                admitted.append((now, cost))

    assert all(excess(window, limit) <= 1e-3 for window in [*windows, admitted])


def test_a_refund_goes_into_no_lease_from_before_the_clock_was_set_back() -> None:
    limiter = Limiter(MemoryCounters())
    for number in range(60):
        limiter.spend("key", MANY, START + 3600 + number / 1000)
    for now in (START + second for second in range(500)):
        limiter.refund("key", limiter.spend("key", MANY, now), now)

    admitted = sum(limiter.spend("key", MANY, START + 3600).is_admitted for _ in range(2 * MANY.burst))

    assert admitted <= MANY.burst


@pytest.mark.parametrize("calls", [150, 200, 236])
def test_a_lease_from_before_the_clock_was_set_back_is_not_used_when_its_time_comes_again(calls: int) -> None:
    """Its calls were charged to a counter that has started anew since."""
    limiter = Limiter(MemoryCounters())
    for number in range(calls):
        limiter.spend("key", MANY, START + 3600 + number / 1000)
    limiter.spend("key", MANY, START)

    later = START + 3600 + calls / 1000
    assert sum(limiter.spend("key", MANY, later).is_admitted for _ in range(2 * MANY.burst)) <= MANY.burst


def test_full_counters_in_memory_are_pruned_after_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetkey.rate_limiting.backends.counters._MAX_KEYS", 2)
    counters = MemoryCounters()
    for name in ("first", "second"):
        counters.spend(name, START, 100.0, START + 100)
    with pytest.raises(BackendUnavailable):
        counters.spend("third", START + 1, 1.0, START + 100)
    counters.prune(START + 1000)

    for name in ("fourth", "fifth"):
        counters.spend(name, START - 3600, 1.0, START)
    assert counters.spend("sixth", START - 3000, 1.0, START) == (True, START - 2999)
