"""How long a response may be reused (RFC 9111)."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import NOW
from valetkey.outbound.freshness import HEURISTIC_LIFETIME_S, MAX_LIFETIME_S, compute_max_age

IN_A_MINUTE, IN_AN_HOUR = formatdate(NOW + 60, usegmt=True), formatdate(NOW + 3600, usegmt=True)

CASES: dict[str, tuple[dict[str, str], int]] = {
    "max-age": ({"cache-control": "public, max-age=120"}, 120),
    "directive in mixed case": ({"cache-control": "Max-Age=120"}, 120),
    "quoted": ({"cache-control": 'max-age="120"'}, 120),
    "max-age minus Age": ({"cache-control": "max-age=120", "age": "100"}, 20),
    "Age above max-age": ({"cache-control": "max-age=120", "age": "500"}, 0),
    "max-age wins over Expires": ({"cache-control": "max-age=120", "expires": IN_AN_HOUR}, 120),
    "Expires": ({"expires": IN_A_MINUTE}, 60),
    "Expires relative to Date": ({"expires": IN_AN_HOUR, "date": IN_A_MINUTE}, 3540),
    "invalid Expires": ({"expires": "0"}, 0),
    "no-store": ({"cache-control": "no-store, max-age=120"}, 0),
    "no-cache": ({"cache-control": "max-age=120, no-cache"}, 0),
    "no-store inside a quoted string": ({"cache-control": 'x="no-store", max-age=120'}, 120),
    "the first of duplicates counts": ({"cache-control": "max-age=120, max-age=900"}, 120),
    "not a number": ({"cache-control": "max-age=soon"}, 0),
    "negative": ({"cache-control": "max-age=-1"}, 0),
    "more than a day": ({"cache-control": "max-age=99999999999999999999"}, MAX_LIFETIME_S),
    "Vary: *": ({"cache-control": "max-age=120", "vary": "*"}, 0),
    "no directive": ({}, HEURISTIC_LIFETIME_S),
}


@pytest.mark.parametrize(("headers", "seconds"), CASES.values(), ids=CASES)
def test_max_age_follows_the_response_headers(headers: dict[str, str], seconds: int) -> None:
    assert compute_max_age(200, headers, NOW) == seconds


def test_an_error_response_without_directives_is_not_cached() -> None:
    assert compute_max_age(503, {}, NOW) == 0


@settings(deadline=None, max_examples=50)
@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["cache-control", "expires", "date", "age", "vary"]), st.text(max_size=20)),
)
def test_max_age_is_a_day_at_most_for_any_headers(status: int, headers: dict[str, str]) -> None:
    assert 0 <= compute_max_age(status, headers, NOW) <= MAX_LIFETIME_S
