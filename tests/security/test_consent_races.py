"""Two processes that write decisions of one user about one app at the same time."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg

from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey.authorization_server.authorize.consent_record import ConsentDecision, consent_statements
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import grants
from valetkey.storage.engine.open import sqlite_path
from valetkey.storage.engine.transaction import Transaction

BOTH = ("notes:read", "profile")


def test_a_withdrawal_waits_for_a_decision_that_is_being_written_and_narrows_its_grant(
    ada: Browser, runtime: Runtime, store_url: str, clock: Clock
) -> None:
    """Another process has written a consent and a grant with the scope, and has not committed them yet."""
    ada.obtain_tokens(scope=BOTH)
    client = runtime.clients.find(ada.client.client_id, clock())
    assert client
    decision = ConsentDecision(client, client.identity, BOTH, ("notes:read",), frozenset(), Owner("ada"), None)
    rows = consent_statements(decision, runtime, clock())
    is_sqlite = runtime.store.dialect == "sqlite"
    other_process: Any = sqlite3.connect(sqlite_path(store_url) or "") if is_sqlite else psycopg.connect(store_url)
    with closing(other_process), ThreadPoolExecutor(1) as executor:
        other_process.execute("UPDATE valetkey_consents SET granted_at = granted_at + 1")
        copied = "client_id, owner, scope, resources, created_at, expires_at"
        copy = "INSERT INTO valetkey_grants (grant_id, {0}) SELECT 'late', {0} FROM valetkey_grants"
        other_process.execute(copy.format(copied))
        write = executor.submit(runtime.store.write, Transaction(rows=rows))
        time.sleep(0.3)
        is_done_early = write.done()
        other_process.commit()
        write.result()

    late = grants.find(runtime.store, "late")
    assert late
    assert (is_done_early, late.scope) == (False, "notes:read")
