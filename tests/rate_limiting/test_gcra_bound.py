"""The bound of a limit, over all processes, in every window: ``burst + n * t / period`` calls in any ``t`` seconds.

Checked with a mutant that charges a lease at ``now`` instead of ``now + LEASE_DURATION_S`` (``Limiter._take_lease``):
``test_a_lease_spent_at_its_end_keeps_the_bound`` and both properties fail (a lease 0.49 s old is spent together with
the whole burst of another process). They also fail if spent calls are not deducted from a lease, or if a lease can be
spent after its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.limit_bound import excess
from valetkey.rate_limiting.backends.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limit import LEASE_DURATION_S, Limit
from valetkey.rate_limiting.limiter import Limiter

START = 1_900_000_000.0
HOT = Limit(100, 1, 200)
# Seconds since the previous, process, number of calls, cost of each. Cost 0: no calls, the process renews its leases.
Arrival = tuple[float, int, int, int]

arrivals = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 0.01, 0.2, 0.49, 0.5, 0.51, 1.0]), st.floats(0, 3)),
        st.integers(0, 2),
        st.sampled_from([1, 2, 21, 30, 60, 250]),
        st.sampled_from([1, 1, 1, 3, 0]),
    ),
    max_size=12,
)
limits = st.sampled_from(
    [
        *(HOT, Limit(1000, 1, 1500), Limit(100, 60, 10), Limit(50, 1, 60), Limit(1, 1, 1), Limit(10, 1, 1)),
        *(Limit(7, 3, 50), Limit(1200, 60, 120)),
    ]
)
LATE_LEASE: list[Arrival] = [(0.0, 0, 21, 1), (0.49, 1, 250, 1), (0.0, 0, 30, 1)]


_keys = count()


def admitted_calls(counters: Counters, limit: Limit, plan: Sequence[Arrival]) -> list[tuple[float, int]]:
    """Return time and cost of each admitted call of three processes that share the counters."""
    processes = [Limiter(counters) for _ in range(3)]
    key, now, admitted = f"bound-{next(_keys)}", START, []
    for gap, process, calls, cost in plan:
        now += gap
        if cost == 0:
            processes[process].renewal.renew()
            continue
        for _ in range(calls):
            if spend_like_a_route(processes[process], key, limit, now, cost)[0]:
                admitted.append((now, cost))
    return admitted


def spend_like_a_route(limiter: Limiter, key: str, limit: Limit, now: float, cost: int) -> tuple[bool, int, float]:
    """Return whether the call is admitted, the remaining calls and the seconds until the whole budget is available.

    A lease is used if possible.
    """
    leased = limiter.spend_lease(key, limit, now, cost)
    if leased is not None:
        return True, *leased
    result = limiter.spend(key, limit, now, cost)
    return result.is_admitted, result.remaining, result.reset_after


@settings(max_examples=200, deadline=None)
@given(plan=arrivals, limit=limits)
@example(plan=LATE_LEASE, limit=HOT)
def test_a_call_from_a_lease_has_the_same_result_as_a_single_call(plan: list[Arrival], limit: Limit) -> None:
    """Two runs of the same calls, one with leases whenever possible: each call has the same result in both."""
    counters = MemoryCounters(), MemoryCounters()
    by_lease, plain = ([Limiter(backend) for _ in range(3)] for backend in counters)
    now = START
    for gap, process, calls, cost in plan:
        now += gap
        if cost == 0:
            for limiter in (by_lease[process], plain[process]):
                limiter.renewal.renew()
            continue
        for _ in range(calls):
            expected = plain[process].spend("key", limit, now, cost)
            result = spend_like_a_route(by_lease[process], "key", limit, now, cost)
            assert result == (expected.is_admitted, expected.remaining, expected.reset_after)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=arrivals, limit=limits)
@example(plan=LATE_LEASE, limit=HOT)
@example(plan=[(0.0, 0, 60, 1), (0.5, 0, 60, 1), (0.49, 1, 60, 3), (0.0, 2, 60, 3)], limit=HOT)
def test_no_window_exceeds_the_bound(counters: Counters, plan: list[Arrival], limit: Limit) -> None:
    assert excess(admitted_calls(counters, limit, plan), limit) <= 1e-3


@settings(max_examples=300, deadline=None)
@given(plan=arrivals, limit=limits)
def test_no_window_exceeds_the_bound_in_many_more_runs(plan: list[Arrival], limit: Limit) -> None:
    # Times are so large that rounding can be up to a thousandth of a call.
    assert excess(admitted_calls(MemoryCounters(), limit, plan), limit) <= 1e-3


def test_a_lease_spent_at_its_end_keeps_the_bound(counters: Counters) -> None:
    """A process takes a lease, waits, and spends it together with the burst of another process: the worst case."""
    first, second, key = Limiter(counters), Limiter(counters), f"lease-{next(_keys)}"
    # The 20th call takes a lease.
    admitted = [(START, 1) for _ in range(21) if first.spend(key, HOT, START).is_admitted]
    late = START + LEASE_DURATION_S - 0.01
    for process in (second, first):
        admitted += [(late, 1) for _ in range(400) if process.spend(key, HOT, late).is_admitted]

    assert excess(admitted, HOT) <= 1e-3
    assert len(admitted) > HOT.burst / 2, "a limiter that admits nothing would keep every bound"


def test_a_hot_key_needs_far_fewer_statements_than_calls() -> None:
    counters = _CountedStatements()
    limiter = Limiter(counters)
    limit = Limit(6_000_000, 60, 600_000)

    for n in range(5000):
        assert limiter.spend("hot", limit, START + n / 5000).is_admitted

    assert counters.statements < 250


class _CountedStatements(MemoryCounters):
    statements = 0

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        self.statements += 1
        return super().spend(key, min_tat, cost_s, max_tat)


def test_a_steady_caller_within_the_rate_is_never_refused(counters: Counters) -> None:
    limiter, key = Limiter(counters), f"steady-{next(_keys)}"

    assert all(limiter.spend(key, Limit(10, 1, 1), START + n / 10 + 1e-4 * n).is_admitted for n in range(50))


def test_the_whole_burst_is_available_at_the_start_and_after_a_pause(counters: Counters) -> None:
    limit, limiter, key = Limit(10, 1, 5), Limiter(counters), f"burst-{next(_keys)}"

    for now in (START, START + 0.5, START + 100):
        assert [limiter.spend(key, limit, now).is_admitted for _ in range(6)] == [True] * 5 + [False]
