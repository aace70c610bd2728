"""The revocation feed as a process sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser_client import Clock
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


def test_what_this_process_revokes_while_the_feed_is_read_is_seen_at_once(
    runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.feed.refresh(clock())
    clock.forward(0.6)
    read = change_feed.list_since

    def slowly(*asked: Any) -> list[ChangeFeedEntry]:
        found = read(*asked)
        revoke(runtime, clock)
        runtime.feed.invalidate()
        monkeypatch.setattr(change_feed, "list_since", read)
        return found

    monkeypatch.setattr(change_feed, "list_since", slowly)
    runtime.feed.refresh(clock())

    runtime.feed.refresh(clock())
    assert runtime.feed.is_revoked(TOKEN)


@pytest.mark.parametrize("waited", [0.0, 601.0])
def test_a_judge_asks_the_feed_as_soon_as_it_names_one(runtime: Runtime, clock: Clock, waited: float) -> None:
    """Also after it was read anew from its beginning."""
    header, judge = "Bearer known", runtime.verifier
    judge._cache.add(header, TOKEN, judge._cache.generation)
    assert judge.verify_header(header, clock()) is TOKEN
    clock.forward(waited)
    revoke(runtime, clock)
    clock.forward(0.6)

    with pytest.raises(InvalidToken, match="revoked"):
        judge.verify_header(header, clock())


def test_whoever_listens_is_told_before_the_view_counts_as_fresh(runtime: Runtime, clock: Clock) -> None:
    """Else another thread could go by what the listener is about to forget."""
    runtime.feed.refresh(clock())
    clock.forward(0.6)
    seen: list[float] = []
    runtime.feed.add_listener(lambda entry: seen.append(clock() - runtime.feed.read_at))
    revoke(runtime, clock)
    runtime.feed.refresh(clock())

    assert seen and min(seen) > 0.5
