"""The change feed as one process reads it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.support.app import MakeApp
from tests.support.clock import NOW, Clock
from tests.support.revocation_process import RevocationProcess
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.plans.service import subscribe
from valetkey.outbound.pruning import prune
from valetkey.protocol.access_token import AccessToken, parse_access_token
from valetkey.protocol.errors import InvalidToken
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, resources
from valetkey.storage.change_feed import FeedRead
from valetkey.storage.engine.statement import sql_and_values
from valetkey.storage.engine.transaction import Transaction

TOKEN: AccessToken = parse_access_token(
    {"iss": "i", "client_id": "c", "sub": "s", "aud": "a", "iat": 1_900_000_000, "exp": 2e9, "jti": "j"}
)


def revoke(runtime: Runtime, clock: Clock) -> None:
    runtime.store.write(Transaction(rows=(change_feed.add_token(TOKEN.jti, clock() + 60),)))


def test_a_revocation_that_this_process_writes_during_a_read_takes_effect_at_once(
    runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.feed.refresh()
    clock.forward(0.6)
    read = change_feed.read
    writer = threading.Thread(target=revoke, args=(runtime, clock))
    is_committed = threading.Event()
    invalidate = runtime.feed.invalidate

    def invalidate_and_tell() -> None:
        invalidate()
        is_committed.set()

    def read_during_revocation(*args: Any) -> FeedRead:
        result = read(*args)
        monkeypatch.setattr(change_feed, "read", read)
        writer.start()
        assert is_committed.wait(10)
        return result

    monkeypatch.setattr(runtime.feed, "invalidate", invalidate_and_tell)
    monkeypatch.setattr(change_feed, "read", read_during_revocation)
    runtime.feed.refresh()

    runtime.feed.refresh()
    assert runtime.feed.is_revoked(TOKEN)
    writer.join()


def test_a_cached_token_is_refused_once_the_feed_has_its_revocation(runtime: Runtime, clock: Clock) -> None:
    header, verifier = "Bearer cached", runtime.verifier
    runtime.feed.refresh()
    verifier._cache.add(header, TOKEN, verifier._cache.generation)
    assert verifier.verify_header(header, clock()) is TOKEN
    revoke(runtime, clock)
    clock.forward(0.6)

    with pytest.raises(InvalidToken, match="revoked"):
        verifier.verify_header(header, clock())


def test_listeners_are_called_before_the_view_counts_as_fresh(runtime: Runtime, clock: Clock) -> None:
    """Otherwise another thread could use an entry that a listener is about to drop from its cache."""
    runtime.feed.refresh()
    clock.forward(0.6)
    view_ages: list[float] = []
    runtime.feed.add_listener(lambda entry: view_ages.append(clock() - runtime.feed.read_at), lambda: None)
    revoke(runtime, clock)
    runtime.feed.refresh()

    assert view_ages and min(view_ages) > 0.5


@pytest.mark.parametrize(
    "idle_s",
    [change_feed.RETENTION_S + 7200.0, -3600.0],
    ids=["idle for longer than entries are retained", "clock set"],
)
def test_a_process_that_was_idle_drops_everything_it_has_cached(
    make_app: MakeApp, store_url: str, clock: Clock, idle_s: float
) -> None:
    """Entries may have been added and pruned meanwhile, and caches of plans and resources expire in no other way."""
    plans = {"plans": {"free": {"limit": "60/minute"}, "pro": {"limit": "600/minute"}}, "default_plan": "free"}
    idle, active = (make_app(store_url, **plans).extensions["valetkey"] for _ in range(2))
    client_id = register_client(active, active.clock(), name="Robot", policy="machine").client_id
    key = idle.keys.get_signing_key("ES256", clock())
    assert idle.subscriptions.get_plan_name(client_id, clock()) == "free"
    assert "https://new.example" not in idle.resources.all()
    subscribe(active, client_id, "pro", active.clock())
    active.store.write(
        Transaction(
            rows=(resources.upsert("https://new.example", {}, clock()), change_feed.add("changed", "resources"))
        )
    )

    prune(active.store, clock() + change_feed.RETENTION_S + 3600)
    clock.forward(idle_s)

    assert change_feed.read(active.store, None).entries == []
    assert idle.subscriptions.get_plan_name(client_id, clock()) == "pro"
    assert "https://new.example" in idle.resources.all()
    assert idle.keys.get_signing_key("ES256", clock()).key is not key.key


def test_a_later_entry_with_a_lower_id_than_others_is_read_before_a_token_is_refused(
    make_app: MakeApp, postgresql_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, ids are not in the order of the commits. The token was issued after the client was enabled."""
    runtime: Runtime = make_app(postgresql_store_url).extensions["valetkey"]
    runtime.store.write_all(change_feed.add("client", TOKEN.client_id))
    sql, values = sql_and_values(change_feed.add("client", TOKEN.client_id), "postgresql", lambda: 0.0)
    with psycopg.connect(postgresql_store_url) as other_process:
        other_process.execute(sql, values)
        runtime.store.write_all(change_feed.add("client", "another"))
        runtime.feed.refresh()
    (seen_id,) = (
        entry.revocation_id for entry in change_feed.read(runtime.store, None).entries if entry.subject == "c"
    )
    token = replace(TOKEN, seen_revocations=(seen_id,))
    assert runtime.feed.is_revoked(token)

    runtime.feed.catch_up(token)

    assert not runtime.feed.is_revoked(token)


def test_the_feed_is_read_once_for_an_id_that_the_database_does_not_have(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token from before the database was restored. Older ids than the entry that revokes it need no read."""
    runtime.store.write_all(change_feed.add("client", TOKEN.client_id))
    runtime.feed.refresh()
    reads: list[Any] = []
    read = change_feed.read
    monkeypatch.setattr(change_feed, "read", lambda *args: (reads.append(args), read(*args))[1])
    older, unknown = (replace(TOKEN, seen_revocations=ids) for ids in ((), (10**15,)))

    runtime.feed.catch_up(older)
    assert reads == []
    for _ in range(3):
        runtime.feed.catch_up(unknown)

    assert len(reads) == 1
    assert runtime.feed.is_revoked(older) and runtime.feed.is_revoked(unknown)


@pytest.mark.parametrize("subject", ["client", "all"])
def test_an_entry_that_was_pruned_revokes_no_new_token_in_a_process_that_still_has_it(
    subject: str, store_url: str
) -> None:
    """The issuer has started since, so that its tokens do not say that it had read the entry."""
    old, new = RevocationProcess(store_url), RevocationProcess(store_url)
    for process in (old, new):
        process.set_clock(NOW, 0.0)
        process.start(900)
    client = register_client(old.runtime, NOW, name="Batch", policy="machine")
    assert client.secret
    if subject == "all":
        old.runtime.store.write(Transaction(rows=(change_feed.add("all", ""),)))
    else:
        old.set_client_enabled(client.client_id, False)
        old.set_client_enabled(client.client_id, True)
    for process in (old, new):
        process.set_clock(NOW + change_feed.RETENTION_S + 100, 0.0)
        process.runtime.feed.refresh()
    new.prune()
    new.start(900)

    issued = new.request_token({"grant_type": "client_credentials"}, [client.client_id, client.secret.reveal()])

    assert old.find_refusals([issued["access_token"]]) == [""]
    for process in (old, new):
        process.runtime.close()
