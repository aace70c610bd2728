"""Times of last use: at most one in 30 seconds is written, in an order that cannot deadlock."""

from __future__ import annotations

import pytest

from tests.support.access_tokens import access_token_of
from tests.support.clock import NOW
from valetkey.activity.last_used import LastUsedTimes
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID


def take(times: LastUsedTimes) -> list[tuple[str, float]]:
    """Return the ids and times that would be written."""
    return [(update.values["wanted"], update.values["at"]) for update in times.take_updates()]


def test_times_of_last_use_are_written_in_the_order_of_the_ids() -> None:
    """Otherwise two processes that write the same ids could wait for each other."""
    times = LastUsedTimes()
    for grant_id in ("b", "c"):
        times.record(access_token_of("app", grant_id=grant_id), NOW)
    times.record(access_token_of(PERSONAL_TOKEN_CLIENT_ID, jti="a"), NOW)

    assert take(times) == [("a", NOW), ("b", NOW), ("c", NOW)]
    assert take(times) == []


def test_uses_are_recorded_after_the_clock_was_set_back() -> None:
    times, token, written = LastUsedTimes(), access_token_of("app", grant_id="grant"), []

    for now in (NOW, NOW + 29, NOW - 3600, NOW - 3600 + 29):
        times.record(token, now)
        written.append(take(times))

    assert written == [[("grant", NOW)], [], [("grant", NOW - 3600)], []]


def test_a_token_of_a_client_that_acts_for_itself_has_no_time_of_last_use() -> None:
    times = LastUsedTimes()

    times.record(access_token_of("robot"), NOW)

    assert take(times) == []


def test_uses_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetkey.activity.last_used._MAX_ENTRIES", 10)
    times = LastUsedTimes()

    for number in range(100):
        times.record(access_token_of("app", grant_id=str(number)), NOW)

    assert len(times._recorded_at) <= 10
    assert len(take(times)) == 100
