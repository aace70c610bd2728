"""Limits of endpoints and pages: keys of counters, what a refusal says, and what happens without counters."""

from __future__ import annotations

from itertools import product

import pytest

from valetkey.protocol.compound_key import join_key
from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.backends.counters import CountersUnavailable, MemoryCounters
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.named_limits import NamedLimits

START = 1_800_000_000.0
LIMITS = {"token_limit": parse_limit("60/minute burst 2")}


class DownCounters(MemoryCounters):
    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        raise CountersUnavailable("down")


@pytest.fixture
def limits() -> NamedLimits:
    return NamedLimits(Limiter(MemoryCounters()), LIMITS, lambda error, now: None)


def test_two_different_lists_of_parts_never_have_the_same_key() -> None:
    parts = ["", "a", "|", "\\", "a|", "|a", "\\|", "|\\", "a:b", "\\\\", "\0", "||"]
    lists = [values for length in (1, 2, 3) for values in product(parts, repeat=length)]

    keys = {join_key(*values) for values in lists}

    assert len(keys) == len(lists)


def test_a_client_whose_id_contains_the_separator_has_its_own_budget(limits: NamedLimits) -> None:
    for _ in range(2):
        limits.charge("token_limit", "https://app.example/x|auth0", "1", now=START)

    limits.charge("token_limit", "https://app.example/x", "auth0|1", now=START)

    with pytest.raises(TooManyRequests):
        limits.charge("token_limit", "https://app.example/x|auth0", "1", now=START)


def test_a_refusal_names_the_limit_and_when_to_retry(limits: NamedLimits) -> None:
    limits.charge("token_limit", "shop", now=START, cost=2)

    with pytest.raises(TooManyRequests, match="slow down") as refused:
        limits.charge("token_limit", "shop", now=START, description="slow down")

    assert (refused.value.limit, refused.value.retry_after) == ("token_limit", pytest.approx(1.0))
    assert refused.value.log_detail == "token_limit of shop"


def test_a_request_never_costs_more_than_the_burst(limits: NamedLimits) -> None:
    limits.charge("token_limit", "shop", now=START, cost=50)

    assert not limits.admits("token_limit", "shop", now=START)
    assert limits.admits("token_limit", "shop", now=START + 2)


def test_without_counters_a_request_is_refused_unless_its_limit_fails_open() -> None:
    allowed: list[str] = []
    limits = NamedLimits(Limiter(DownCounters()), LIMITS, lambda error, now: allowed.append(str(error)))

    limits.charge("token_limit", "shop", now=START, fails_open=True)

    assert len(allowed) == 1
    with pytest.raises(BackendUnavailable):
        limits.charge("token_limit", "shop", now=START)
