"""Tables do not grow for ever, and nothing that is still needed goes."""

from __future__ import annotations

import threading

from tests.storage.conftest import NOW
from tests.support.browser_client import count_rows
from valetkey.outbound.worker import Worker, prune
from valetkey.protocol.secret import random_id
from valetkey.settings import Settings
from valetkey.storage import (
    accounts,
    change_feed,
    clients,
    grants,
    idempotency_keys,
    interactions,
    opaque_tokens,
    outbox,
)
from valetkey.storage.accounts import Session
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant, RefreshToken, RetryAnswer
from valetkey.storage.interactions import Interaction
from valetkey.storage.tables import metadata

DAY = 86400.0


def fill(store: Store, until: float) -> None:
    """One row in each table that is pruned; it ends at ``until``."""
    digest, name = random_id(32).encode(), random_id()
    store.write(
        Transaction(
            rows=(
                interactions.add(Interaction(digest, b"b", "c", "{}", until)),
                grants.add(Grant(name, "c", "o", "", "[]", None, None, None, NOW, until)),
                grants.add_code(AuthorizationCode(digest, name, "c", "u", 1, None, None, until)),
                grants.add_refresh_token(RefreshToken(digest, name, None, NOW, until)),
                grants.add_retry_answer(RetryAnswer(digest, b"r", b"a", until)),
                opaque_tokens.add(digest, {"exp": until}),
                change_feed.add("token", name, NOW, until),
                accounts.add_session(Session(digest, "s", b"b", NOW, until, None)),
                clients.add_secret("c", digest, NOW, until),
                idempotency_keys.reserve(digest, b"r", NOW, abandoned_before=NOW, expires_at=until),
            )
        )
    )


def rows(store: Store) -> dict[str, int]:
    return {name: count_rows(store, name) for name in metadata.tables if name != "valetkey_signing_keys"}


def test_what_is_long_over_goes_and_what_lives_stays(store: Store) -> None:
    fill(store, NOW)
    fill(store, NOW + 200 * DAY)

    prune(store, NOW + 100 * DAY)

    assert {number for number in rows(store).values() if number} == {1}


def test_nothing_goes_that_may_still_matter(store: Store) -> None:
    fill(store, NOW)
    before = rows(store)

    prune(store, NOW)

    assert rows(store) == before


def test_a_code_outlives_its_end_by_a_day_so_that_a_replay_is_seen(store: Store) -> None:
    fill(store, NOW)

    prune(store, NOW + DAY - 1)

    left = rows(store)
    assert (left["valetkey_codes"], left["valetkey_grants"], left["valetkey_refresh_tokens"]) == (1, 1, 1)
    assert left["valetkey_retry_answers"] == 0, "an answer goes as soon as no retry can come"


def test_one_worker_leads_and_another_takes_over_when_it_is_gone(store: Store) -> None:
    now = [NOW]
    one, other = (Worker(Settings(), store, lambda: now[0]) for _ in range(2))
    one.run_once()
    fill(store, NOW - 100 * DAY)
    other.run_once()
    assert count_rows(store, "valetkey_codes") == 1, "the other one waits"

    now[0] += 16
    other.run_once()

    assert count_rows(store, "valetkey_codes") == 0


def test_a_job_of_a_kind_that_nobody_knows_is_tried_again_later_and_given_up(store: Store) -> None:
    now = [NOW]
    worker = Worker(Settings(), store, lambda: now[0])
    store.write(Transaction(rows=(outbox.add("nonsense", {}, NOW),)))
    for _ in range(10):
        worker.run_once()
        now[0] += 30 * 3600

    assert outbox.list_due(store, now[0] + DAY) == []
    assert count_rows(store, "valetkey_outbox") == 1, "a job that failed for good is kept for the operator"


def test_a_worker_stops_when_it_is_told_to(store: Store) -> None:
    stop = threading.Event()
    stop.set()

    Worker(Settings(), store, lambda: NOW).run(stop)


def test_more_than_a_batch_goes_at_once_and_is_counted(store: Store) -> None:
    """One batch in an hour would let tables grow for ever."""
    for _ in range(3):
        store.write(Transaction(rows=tuple(change_feed.add("token", random_id(), NOW, NOW) for _ in range(4000))))

    removed = prune(store, NOW + DAY)

    assert removed["valetkey_revocations"] == 12_000
    assert count_rows(store, "valetkey_revocations") == 0
    assert prune(store, NOW + DAY)["valetkey_revocations"] == 0
