"""The bound of a limit, over all processes, in every window: ``burst + n * t / period`` calls in any ``t`` seconds.

Tried against the mutant that charges a lease at ``now`` in place of ``now + LEASE_SECONDS`` (``Limiter._lease``):
``test_a_lease_spent_at_its_end_keeps_the_bound`` and both properties failed (a lease 0.49 s old, spent beside the
whole burst of another process). So they did where a lease forgets what was spent from it, or outlives its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from valetkey.rate_limiting.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import LEASE_DURATION_S, Limiter

START = 1_900_000_000.0
HOT = Limit(100, 1, 200)
Arrival = tuple[float, int, int, int]  # seconds since the last, which process, how many calls, the cost of each

arrivals = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 0.01, 0.2, 0.49, 0.5, 0.51, 1.0]), st.floats(0, 3)),
        st.integers(0, 2),
        st.sampled_from([1, 2, 21, 30, 60, 250]),
        st.sampled_from([1, 1, 1, 3]),
    ),
    max_size=12,
)
limits = st.sampled_from(
    [HOT, Limit(1000, 1, 1500), Limit(100, 60, 10), Limit(50, 1, 60), Limit(1, 1, 1), Limit(10, 1, 1), Limit(7, 3, 50)]
)
LATE_LEASE: list[Arrival] = [(0.0, 0, 21, 1), (0.49, 1, 250, 1), (0.0, 0, 30, 1)]


_keys = count()


def admitted(counters: Counters, limit: Limit, plan: Sequence[Arrival]) -> list[tuple[float, int]]:
    """When calls were let through and what each cost, where three processes share the counters."""
    processes = [Limiter(counters) for _ in range(3)]
    key, now, through = f"bound-{next(_keys)}", START, []
    for gap, process, calls, cost in plan:
        now += gap
        for _ in range(calls):
            if spend_as_routes_do(processes[process], key, limit, now, cost)[0]:
                through.append((now, cost))
    return through


def spend_as_routes_do(limiter: Limiter, key: str, limit: Limit, now: float, cost: int) -> tuple[bool, int, float]:
    """Whether the call is let through, what remains, and when all is there again: by the lease where one pays."""
    paid = limiter.spend_lease(key, limit, now, cost)
    if paid is not None:
        return True, *paid
    spent = limiter.spend(key, limit, now, cost)
    return spent.is_admitted, spent.remaining, spent.reset_after


@settings(max_examples=200, deadline=None)
@given(plan=arrivals, limit=limits)
@example(plan=LATE_LEASE, limit=HOT)
def test_a_lease_pays_as_a_single_call_does(plan: list[Arrival], limit: Limit) -> None:
    """Two histories, one paid by leases wherever that is possible: the same verdicts, and the same told of each."""
    counters = MemoryCounters(), MemoryCounters()
    by_lease, plain = ([Limiter(one) for _ in range(3)] for one in counters)
    now = START
    for gap, process, calls, cost in plan:
        now += gap
        for _ in range(calls):
            spent = plain[process].spend("key", limit, now, cost)
            told = spend_as_routes_do(by_lease[process], "key", limit, now, cost)
            assert told == (spent.is_admitted, spent.remaining, spent.reset_after)


def excess(through: Sequence[tuple[float, int]], limit: Limit) -> float:
    """By how many calls the fullest window goes over the bound; 0 or less where it is kept.

    The calls from i to j, both counted, are within the bound where ``sum - n * t / period <= burst``; the worst
    window that ends at j begins where the sum before i, less what had come back by then, is smallest.
    """
    spent, lowest, worst = 0.0, float("inf"), float("-inf")
    for moment, cost in through:
        come_back = (moment - START) / limit.emission_interval_s
        lowest = min(lowest, spent - come_back)
        spent += cost
        worst = max(worst, spent - come_back - lowest)
    return worst - limit.burst


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=arrivals, limit=limits)
@example(plan=LATE_LEASE, limit=HOT)
@example(plan=[(0.0, 0, 60, 1), (0.5, 0, 60, 1), (0.49, 1, 60, 3), (0.0, 2, 60, 3)], limit=HOT)
def test_no_window_goes_over_the_bound(counters: Counters, plan: list[Arrival], limit: Limit) -> None:
    assert excess(admitted(counters, limit, plan), limit) <= 1e-3


@settings(max_examples=300, deadline=None)
@given(plan=arrivals, limit=limits)
def test_no_window_goes_over_the_bound_in_many_more_histories(plan: list[Arrival], limit: Limit) -> None:
    assert (
        excess(admitted(MemoryCounters(), limit, plan), limit) <= 1e-3
    )  # of a call: what rounding leaves of times so large


def test_a_lease_spent_at_its_end_keeps_the_bound(counters: Counters) -> None:
    """A process leases, waits, and spends it all beside another's burst: the moment when it could hurt most."""
    one, other, key = Limiter(counters), Limiter(counters), f"lease-{next(_keys)}"
    through = [(START, 1) for _ in range(21) if one.spend(key, HOT, START).is_admitted]  # the 20th call leases
    late = START + LEASE_DURATION_S - 0.01
    for process in (other, one):
        through += [(late, 1) for _ in range(400) if process.spend(key, HOT, late).is_admitted]

    assert excess(through, HOT) <= 1e-3
    assert len(through) > HOT.burst / 2, "a limiter that admits nothing keeps every bound"


def test_a_hot_key_costs_far_fewer_statements_than_calls() -> None:
    counted = _Counted()
    limiter = Limiter(counted)
    limit = Limit(6_000_000, 60, 600_000)

    for n in range(5000):
        assert limiter.spend("hot", limit, START + n / 5000).is_admitted

    assert counted.statements < 250


class _Counted(MemoryCounters):
    statements = 0

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        self.statements += 1
        return super().spend(key, base, cost, latest)


def test_a_steady_caller_within_the_rate_is_never_refused(counters: Counters) -> None:
    limiter, key = Limiter(counters), f"steady-{next(_keys)}"

    assert all(limiter.spend(key, Limit(10, 1, 1), START + n / 10 + 1e-4 * n).is_admitted for n in range(50))


def test_a_whole_burst_is_there_at_the_start_and_again_after_a_pause(counters: Counters) -> None:
    limit, limiter, key = Limit(10, 1, 5), Limiter(counters), f"burst-{next(_keys)}"

    for now in (START, START + 0.5, START + 100):
        assert [limiter.spend(key, limit, now).is_admitted for _ in range(6)] == [True] * 5 + [False]
