"""Pruning removes rows that are no longer needed and no others, and the worker runs it and the jobs of the outbox."""

from __future__ import annotations

import threading

import psycopg

from tests.support.clock import NOW
from tests.support.store_assertions import count_rows
from valetkey.outbound.pruning import prune
from valetkey.outbound.worker import Worker
from valetkey.protocol.secret import random_id
from valetkey.settings import Settings
from valetkey.storage import (
    change_feed,
    clients,
    grants,
    idempotency_keys,
    interactions,
    opaque_tokens,
    outbox,
    refresh_tokens,
    retry_answers,
    sessions,
    usage,
)
from valetkey.storage.engine.statement import sql_and_values
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant
from valetkey.storage.interactions import Interaction
from valetkey.storage.pruning import prune_statements
from valetkey.storage.refresh_tokens import RefreshToken
from valetkey.storage.retry_answers import RetryAnswer
from valetkey.storage.sessions import Session
from valetkey.storage.tables import metadata
from valetkey.storage.usage import HourlyUsage

DAY = 86400.0


def fill(store: Store, until: float) -> None:
    """Add one row to each of several tables that are pruned; the rows expire at ``until``."""
    digest, name = random_id(32).encode(), random_id()
    store.write(
        Transaction(
            rows=(
                interactions.add(Interaction(digest, b"b", "c", "{}", until)),
                grants.add(Grant(name, "c", "o", "", "[]", None, None, None, NOW, until)),
                grants.add_code(AuthorizationCode(digest, name, "c", "u", 1, None, None, until)),
                refresh_tokens.add(RefreshToken(digest, name, None, NOW, until)),
                retry_answers.add(RetryAnswer(digest, b"r", b"a", until)),
                opaque_tokens.add(digest, {"exp": until}),
                change_feed.add_token(name, until - 3600),
                sessions.add(Session(digest, "s", b"b", NOW, NOW, until, None)),
                clients.add_secret("c", digest, NOW, until),
                idempotency_keys.reserve(digest, b"r", NOW, abandoned_before=NOW, expires_at=until),
            )
        )
    )


def count_all_rows(store: Store) -> dict[str, int]:
    """Return the number of rows in each table, except for the signing keys, which are created once for all tests."""
    return {name: count_rows(store, name) for name in metadata.tables if name != "valetkey_signing_keys"}


def test_expired_rows_are_removed_and_unexpired_rows_stay(store: Store) -> None:
    fill(store, NOW)
    fill(store, NOW + 200 * DAY)

    prune(store, NOW + 100 * DAY)

    assert {number for number in count_all_rows(store).values() if number} == {1}


def test_rows_that_have_just_expired_stay(store: Store) -> None:
    fill(store, NOW)
    before = count_all_rows(store)

    prune(store, NOW)

    assert count_all_rows(store) == before


def test_an_expired_code_stays_for_a_day_to_detect_a_replay(store: Store) -> None:
    fill(store, NOW)

    prune(store, NOW + DAY - 1)

    remaining = count_all_rows(store)
    assert [remaining[f"valetkey_{name}"] for name in ("codes", "grants", "refresh_tokens")] == [1, 1, 1]
    assert remaining["valetkey_retry_answers"] == 0, "a retry answer is removed as soon as it expires"


def test_one_worker_has_the_lease_and_another_takes_over_when_it_ends(store: Store) -> None:
    now = [NOW]
    store.clock = lambda: now[0]
    first, second = (Worker(Settings(), store, lambda: now[0]) for _ in range(2))
    first.run_once()
    fill(store, NOW - 100 * DAY)
    second.run_once()
    assert count_rows(store, "valetkey_codes") == 1, "the second worker does nothing while the first has the lease"

    now[0] += 16
    second.run_once()

    assert count_rows(store, "valetkey_codes") == 0


def test_a_job_of_an_unknown_kind_is_retried_and_finally_marked_as_failed(store: Store) -> None:
    now = [NOW]
    store.clock = lambda: now[0]
    worker = Worker(Settings(), store, lambda: now[0])
    store.write(Transaction(rows=(outbox.add("nonsense", {}, NOW),)))
    for _ in range(10):
        worker.run_once()
        now[0] += 30 * 3600

    assert outbox.list_due(store, now[0] + DAY) == {}
    assert count_rows(store, "valetkey_outbox") == 1, "a job that failed for good stays in the table for the operator"


def test_a_worker_returns_when_its_stop_event_is_set(store: Store) -> None:
    stop = threading.Event()
    stop.set()

    Worker(Settings(), store, lambda: NOW).run(stop)


def test_one_run_removes_several_batches_and_returns_the_number_of_rows(store: Store) -> None:
    """One batch an hour would let tables grow without limit."""
    for _ in range(3):
        store.write(Transaction(rows=tuple(change_feed.add_token(random_id(), NOW - 3600) for _ in range(4000))))

    removed, failed = prune(store, NOW + DAY)

    assert (removed["valetkey_revocations"], failed) == (12_000, set())
    assert count_rows(store, "valetkey_revocations") == 0
    assert prune(store, NOW + DAY)[0]["valetkey_revocations"] == 0


_PRUNED_WITHOUT_INDEX = {"valetkey_outbox", "valetkey_signing_keys"}  # few rows


def test_postgresql_finds_expired_rows_by_an_index(postgresql_store_url: str) -> None:
    scanned = set()
    with psycopg.connect(postgresql_store_url) as connection:
        connection.execute("SET enable_seqscan = off")  # an empty table is read as a whole otherwise
        for table, count_statement, _ in prune_statements(NOW, 365):
            sql, values = sql_and_values(count_statement, "postgresql", lambda: NOW)
            plan = connection.execute(f"EXPLAIN {sql}".encode(), values).fetchall()
            if any("Seq Scan" in line or "Filter: ((hour" in line for (line,) in plan):
                scanned.add(table)

    assert scanned == _PRUNED_WITHOUT_INDEX


def test_usage_of_the_last_366_days_stays(store: Store) -> None:
    hour = int(NOW // 3600)
    rows = [HourlyUsage(number, "shop", "GET /", 200, 1) for number in (hour - 366 * 24 - 1, hour - 366 * 24, hour)]
    store.write_all(*(usage.add_calls(row) for row in rows))

    prune(store, NOW)

    assert usage.list_between(store, 0, NOW) == rows[1:]
