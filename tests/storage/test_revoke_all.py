"""After a restore nothing in the database is valid that was issued before; every table is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.engine import Engine

from tests.support.app import ENCRYPTION_KEY
from tests.support.every_table import assert_left, make_row, open_engine, read_rows
from valetkey.settings import Settings
from valetkey.storage import revoke_all
from valetkey.storage.engine.open import open_store
from valetkey.storage.revoke_all import drop_jobs
from valetkey.storage.tables import metadata, signing_keys
from valetkey.tokens.encryption import Cipher
from valetkey.tokens.revoke_all import revoke_everything

NOW = 1_800_000_000.0
ROWS = 7
# What is left of rows that were there: "deleted", "kept", or the columns that were changed. A new table needs a line.
WHAT_IS_LEFT: dict[str, Any] = {
    "valetkey_access_tokens": "deleted",
    "valetkey_accounts": "kept",
    "valetkey_assertions": "kept",
    "valetkey_audit": "kept",
    "valetkey_client_secrets": "kept",
    "valetkey_clients": "kept",
    "valetkey_codes": "deleted",
    "valetkey_consents": "deleted",
    "valetkey_device_codes": "deleted",
    "valetkey_grants": {"revoked_at": NOW},
    "valetkey_idempotency_keys": "kept",
    "valetkey_initial_access_tokens": "deleted",
    "valetkey_interactions": "deleted",
    "valetkey_leases": "kept",
    "valetkey_limits": "kept",
    "valetkey_mail_links": "deleted",
    "valetkey_outbox": "deleted",
    "valetkey_personal_access_tokens": {"revoked_at": NOW},
    "valetkey_provider_disconnections": "kept",
    "valetkey_provider_links": {"tokens": None},
    "valetkey_provider_requests": "deleted",
    "valetkey_quotas": "kept",
    "valetkey_refresh_tokens": "deleted",
    "valetkey_registrations": {"digest": b""},
    "valetkey_resources": "kept",
    "valetkey_retry_answers": "deleted",
    "valetkey_revocations": "kept",
    "valetkey_route_limits": "kept",
    "valetkey_served_as": "kept",
    "valetkey_sessions": {"ended_at": NOW},
    "valetkey_signing_keys": "replaced",
    "valetkey_subscriptions": "kept",
    "valetkey_usage": "kept",
}


@pytest.fixture
def store_url(unshared_store_url: str) -> str:
    return unshared_store_url  # its signing keys are replaced


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """SQLAlchemy's access to a database whose tables have some rows each, besides the signing keys."""
    engine = open_engine(store_url)
    with engine.begin() as connection:
        for table in metadata.tables.values():
            if table is not signing_keys:
                connection.execute(insert(table), [make_row(table, number) for number in range(ROWS)])
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three rows, so that a table has several."""
    for ending in (*revoke_all._ENDINGS, revoke_all._JOBS):
        monkeypatch.setattr(ending, "_last_of_batch", revoke_all._last_of_batch_statement(ending._key, 3))


def test_every_table_has_a_decision() -> None:
    assert metadata.tables.keys() == WHAT_IS_LEFT.keys()


def test_revoking_everything_leaves_nothing_valid_in_any_table(engine: Engine, store_url: str) -> None:
    before = {name: read_rows(engine, table) for name, table in metadata.tables.items()}
    store = open_store(store_url)

    revoke_everything(store, Cipher(Settings(encryption_keys=(ENCRYPTION_KEY,))), NOW, "tokens.all_revoked")

    store.close()
    for name, table in metadata.tables.items():
        if WHAT_IS_LEFT[name] != "replaced":
            assert_left(name, before[name], read_rows(engine, table), WHAT_IS_LEFT[name])


def test_revoking_everything_erases_the_old_signing_keys_and_makes_new_ones(store_url: str) -> None:
    engine = open_engine(store_url)
    keys = [row for row in read_rows(engine, signing_keys) if row["algorithm"] != "none" and row["retired_at"] is None]
    store = open_store(store_url)

    revoke_everything(store, Cipher(Settings(encryption_keys=(ENCRYPTION_KEY,))), NOW, "tokens.all_revoked")

    store.close()
    after = {row["kid"]: row for row in read_rows(engine, signing_keys)}
    engine.dispose()
    assert {(after[key["kid"]]["private"], after[key["kid"]]["retired_at"]) for key in keys} == {(b"", NOW)}
    new = [row for kid, row in after.items() if row["retired_at"] is None and row["algorithm"] != "none"]
    assert {row["algorithm"] for row in new} == {key["algorithm"] for key in keys}
    assert {row["active_at"] for row in new} == {NOW}
    assert after["pairwise-salt"]["private"]


def test_dropping_jobs_changes_no_other_table(engine: Engine, store_url: str) -> None:
    before = {name: read_rows(engine, table) for name, table in metadata.tables.items()}
    store = open_store(store_url)

    drop_jobs(store, NOW)

    store.close()
    assert {name: read_rows(engine, table) for name, table in metadata.tables.items()} == {
        **before,
        "valetkey_outbox": [],
    }
