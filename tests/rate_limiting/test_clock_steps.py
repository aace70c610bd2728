"""Limits when a clock was fast and is set right, and when the clocks of two servers differ by up to a minute."""

from __future__ import annotations

from itertools import count

import pytest

from valetkey.rate_limiting.backends.counters import Counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter

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
