"""The change feed as one process reads it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clock import Clock
from valetkey.protocol.access_token import AccessToken, parse_access_token
from valetkey.protocol.errors import InvalidToken
from valetkey.runtime import Runtime
from valetkey.storage import change_feed
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.transaction import Transaction

TOKEN: AccessToken = parse_access_token(
    {"iss": "i", "client_id": "c", "sub": "s", "aud": "a", "iat": 1_900_000_000, "exp": 2e9, "jti": "j"}
)


def revoke(runtime: Runtime, clock: Clock) -> None:
    row = change_feed.add("token", TOKEN.jti, clock(), runtime.revocation_expiry)
    runtime.store.write(Transaction(rows=(row,)))


def test_a_revocation_that_this_process_writes_during_a_read_takes_effect_at_once(
    runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.feed.refresh(clock())
    clock.forward(0.6)
    list_since = change_feed.list_since

    def list_then_revoke(*args: Any) -> list[ChangeFeedEntry]:
        entries = list_since(*args)
        revoke(runtime, clock)
        runtime.feed.invalidate()
        monkeypatch.setattr(change_feed, "list_since", list_since)
        return entries

    monkeypatch.setattr(change_feed, "list_since", list_then_revoke)
    runtime.feed.refresh(clock())

    runtime.feed.refresh(clock())
    assert runtime.feed.is_revoked(TOKEN)


@pytest.mark.parametrize("seconds_before", [0.0, 601.0], ids=["after a read of new entries", "after a reload"])
def test_a_cached_token_is_refused_once_the_feed_has_its_revocation(
    runtime: Runtime, clock: Clock, seconds_before: float
) -> None:
    header, verifier = "Bearer cached", runtime.verifier
    verifier._cache.add(header, TOKEN, verifier._cache.generation)
    assert verifier.verify_header(header, clock()) is TOKEN
    clock.forward(seconds_before)
    revoke(runtime, clock)
    clock.forward(0.6)

    with pytest.raises(InvalidToken, match="revoked"):
        verifier.verify_header(header, clock())


def test_listeners_are_called_before_the_view_counts_as_fresh(runtime: Runtime, clock: Clock) -> None:
    """Otherwise another thread could use an entry that a listener is about to drop from its cache."""
    runtime.feed.refresh(clock())
    clock.forward(0.6)
    view_ages: list[float] = []
    runtime.feed.add_listener(lambda entry: view_ages.append(clock() - runtime.feed.read_at))
    revoke(runtime, clock)
    runtime.feed.refresh(clock())

    assert view_ages and min(view_ages) > 0.5
