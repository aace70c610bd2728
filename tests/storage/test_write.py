"""Write transactions: the condition, the rows if it is met, the rows if it is not; many transactions in one commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier, Event, Lock
from time import sleep
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.clock import NOW
from tests.support.store_assertions import count_rows
from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.clients.service import client_revocation_statements
from valetkey.storage import accounts, grants, interactions, leases, mail_links, provider_links, sessions
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement, Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.grants import AuthorizationCode, Grant
from valetkey.storage.interactions import Interaction
from valetkey.storage.mail_links import MailLink
from valetkey.storage.provider_links import ProviderLink
from valetkey.storage.revocation_check import SeenRevocations
from valetkey.storage.sessions import Session
from valetkey.storage.tables import grants as grants_table

DIGEST = b"d" * 32


def grant(grant_id: str = "g") -> Grant:
    return Grant(grant_id, "client", "owner", "profile", "[]", NOW, None, None, NOW, NOW + 100)


def add_code(store: Store) -> None:
    code = AuthorizationCode(DIGEST, "g", "client", "https://a.example/", 1, None, None, NOW + 60)
    store.write(Transaction(rows=(grants.add(grant()), grants.add_code(code))))


def event(detail: str) -> BoundStatement:
    return audit_statement("token.revoked", NOW, detail=detail)


def test_a_transaction_without_a_condition_counts_as_met(store: Store) -> None:
    assert store.write(Transaction(rows=(event("a"), event("b")))) is True
    assert count_rows(store, "valetkey_audit") == 2


def test_rows_are_written_if_the_condition_is_met_and_else_rows_if_not(store: Store) -> None:
    add_code(store)
    transaction = Transaction(
        grants.consume_code(DIGEST, NOW), (event("met"),), else_rows=(event("not met"), event("not met"))
    )

    assert [store.write(transaction), store.write(transaction)] == [True, False]
    assert count_rows(store, "valetkey_audit") == 3, "else_rows are committed too"


def test_the_condition_is_met_once_among_concurrent_threads(store: Store) -> None:
    add_code(store)
    start = Barrier(24)

    def consume(n: int) -> bool:
        start.wait()
        return store.write(Transaction(grants.consume_code(DIGEST, NOW), (event(f"met {n}"),), (event("not met"),)))

    with ThreadPoolExecutor(24) as pool:
        results = list(pool.map(consume, range(24)))

    assert results.count(True) == 1
    assert count_rows(store, "valetkey_audit") == 24


def test_the_condition_is_met_once_among_stores_that_share_a_database(store: Store, store_url: str) -> None:
    add_code(store)
    other = open_store(store_url)
    start = Barrier(8)

    def consume(store: Store) -> bool:
        start.wait()
        return store.write(Transaction(grants.consume_code(DIGEST, NOW)))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(consume, [store, other] * 4))
    other.close()

    assert results.count(True) == 1


def test_a_condition_that_changes_no_row_is_not_met(store: Store) -> None:
    assert store.write(Transaction(grants.consume_code(b"?" * 32, NOW), (event("met"),))) is False
    assert count_rows(store, "valetkey_audit") == 0


def test_a_row_that_fails_rolls_the_whole_transaction_back(store: Store) -> None:
    add_code(store)
    failing = Transaction(grants.consume_code(DIGEST, NOW), (event("met"), grants.add(grant())))  # the same key twice

    with pytest.raises(Exception, match=r"(?i)unique"):
        store.write(failing)

    assert count_rows(store, "valetkey_audit") == 0
    assert store.write(Transaction(grants.consume_code(DIGEST, NOW))) is True, "the condition was rolled back too"


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        Event().wait(0.001)


def test_a_failing_transaction_does_not_affect_others_in_the_same_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Interaction(b"taken", b"browser", "shop", "{}", NOW)
    store.write(Transaction(rows=(interactions.add(taken),)))
    start = Barrier(17)

    def write(n: int) -> str:
        start.wait()
        row = interactions.add(taken if n == 8 else replace(taken, digest=f"other {n}".encode()))
        try:
            store.write(Transaction(rows=(row, event("with it"))))
        except Exception as error:
            return type(error).__name__
        return "written"

    commit = store._queue._handle_next_batch

    def commit_when_all_are_queued() -> None:
        wait_until(lambda: len(store._queue._items) == 17)
        commit()

    monkeypatch.setattr(store._queue, "_handle_next_batch", commit_when_all_are_queued)
    with ThreadPoolExecutor(17) as pool:
        results = list(pool.map(write, range(17)))

    assert [n for n, result in enumerate(results) if result != "written"] == [8]
    assert count_rows(store, "valetkey_interactions") == 1 + 16
    assert count_rows(store, "valetkey_audit") == 16


def test_the_statements_of_each_transaction_of_a_commit_run_in_their_order(store: Store) -> None:
    add_code(store)
    codes = [
        AuthorizationCode(bytes([n]) * 32, "g", "client", "https://a.example/", 1, None, None, NOW + 60)
        for n in (1, 2, 3)
    ]
    with closing(store._driver.connect()) as connection:
        results = connection.run_transactions(
            [
                Transaction(grants.consume_code(DIGEST, NOW), (event("first"),)),
                Transaction(rows=(grants.add_code(codes[0]), grants.consume_code(codes[0].digest, NOW))),
                Transaction(grants.consume_code(DIGEST, NOW), (event("met"),), (event("used"), grants.add(grant("h")))),
                Transaction(rows=(event("a"), grants.add_code(codes[1]), grants.consume_code(codes[1].digest, NOW))),
                Transaction(rows=(grants.consume_code(codes[2].digest, NOW), grants.add_code(codes[2]))),
            ],
            1.0,
            lambda: NOW,
        )

    assert results == [True, True, False, True, True]
    used = [store.write(Transaction(grants.consume_code(code.digest, NOW))) for code in codes]
    assert used == [False, False, True], "two were added before they were used, one after it"
    assert (count_rows(store, "valetkey_audit"), count_rows(store, "valetkey_grants")) == (3, 2)


@pytest.mark.parametrize("revocation_is_first", [True, False])
def test_a_revocation_and_a_new_grant_in_one_commit_leave_no_active_grant(
    store: Store, revocation_is_first: bool
) -> None:
    """Nothing of another transaction may run between the statements of a revocation."""
    revocation = Transaction(rows=(event("a"), *client_revocation_statements("client", NOW)))
    approval = Transaction(rows=(event("b"), event("c"), grants.add_unless_revoked(grant(), SeenRevocations())))
    transactions = [revocation, approval] if revocation_is_first else [approval, revocation]

    with closing(store._driver.connect()) as connection:
        connection.run_transactions(transactions, 1.0, lambda: NOW)

    active = select(grants_table.c.grant_id).where(grants_table.c.revoked_at.is_(None))
    assert not store.fetch_all(Statement(active)())


@pytest.mark.parametrize("reset_is_first", [True, False])
def test_a_password_reset_and_a_sign_in_with_a_provider_in_one_commit_leave_no_session(
    store: Store, reset_is_first: bool
) -> None:
    """The condition of the sign-in must not run before the rows of the reset, which remove the link."""
    mail_link = MailLink(DIGEST, "reset", "ada@example.org", "ada", "Ada", "/", NOW + 60)
    link = ProviderLink("subject", "https://op.example", "ada", None, NOW)
    account = accounts.add("ada", "ada@example.org", "Ada", None, NOW)
    store.write_all(account, mail_links.add(mail_link), provider_links.add(link))
    reset = Transaction(
        mail_links.mark_used(mail_link, NOW),
        (provider_links.remove_all_of_account("ada"), sessions.end_all("ada", NOW)),
    )
    session = Session(b"session", "ada", b"browser", NOW, NOW, NOW + 60, None, issuer=link.issuer)
    sign_in = Transaction(provider_links.set_signed_in(link.issuer, link.subject, "ada", NOW), (sessions.add(session),))
    transactions = [reset, sign_in] if reset_is_first else [sign_in, reset]

    with closing(store._driver.connect()) as connection:
        results = connection.run_transactions(transactions, 1.0, lambda: NOW)

    assert results == ([True, False] if reset_is_first else [True, True])
    assert not sessions.list_active(store, "ada", NOW)


def test_a_committed_transaction_does_not_wait_for_the_next_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it did, a returning thread would find no leader before the others woke up: one transaction per commit."""
    run_batch, may_end, sizes = store._run_batch, Event(), []
    before: list[Callable[[], object]] = [
        lambda: wait_until(lambda: len(store._queue._items) == 2),
        lambda: wait_until(lambda: len(store._queue._items) == 1),
        lambda: may_end.wait(10),
    ]

    def run_batch_when_ready(batch: Any) -> Any:
        sizes.append(len(batch))
        before[len(sizes) - 1]()
        return run_batch(batch)

    monkeypatch.setattr(store, "_run_batch", run_batch_when_ready)
    with ThreadPoolExecutor(4) as pool:
        writes = []
        for commits_begun in (0, 1, 1, 2):
            wait_until(lambda expected=commits_begun: len(sizes) == expected)  # type: ignore[misc] # cannot infer lambda
            writes.append(pool.submit(store.write, Transaction(rows=(event("x"),))))
        wait_until(lambda: len(sizes) == 3)
        assert [write.result(timeout=5) for write in writes[:3]] == [True] * 3
        may_end.set()
        assert writes[3].result(timeout=5)
    assert sizes == [1, 2, 1]


class _PreemptingLock:
    """A lock after whose release other threads run before the thread that has released it."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        sleep(0.002)


def test_a_thread_that_is_paused_after_queueing_returns_the_result_of_its_own_write(store: Store) -> None:
    add_code(store)
    store._queue._lock = _PreemptingLock()  # type: ignore[assignment]

    def write(n: int) -> bool:
        return store.write(Transaction(rows=(event(f"write {n}"),)))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(write, range(120)))

    assert results == [True] * 120
    assert count_rows(store, "valetkey_audit") == 120


def test_committed_rows_are_visible_to_another_connection(store: Store, store_url: str) -> None:
    store.write(Transaction(accounts.add("sub", "a@example.org", "A", None, NOW)))
    other = open_store(store_url)

    assert accounts.find(other, "sub") is not None
    other.close()


def test_a_read_sees_every_earlier_write(store: Store) -> None:
    """A read connection with an open snapshot would not."""
    for n in range(5):
        store.write(Transaction(rows=(event("x"),)))
        assert count_rows(store, "valetkey_audit") == n + 1


def test_a_lease_has_one_holder_until_it_expires(store: Store) -> None:
    def acquire(holder: str, now: float) -> bool:
        store.clock = lambda: now
        return store.write(Transaction(leases.acquire("worker", holder, 15)))

    assert acquire("first", NOW)
    assert not acquire("second", NOW + 14)
    assert acquire("first", NOW + 14), "the holder can renew it"
    assert not acquire("second", NOW + 20)
    assert acquire("second", NOW + 30)


def test_values_that_do_not_match_the_parameters_are_an_error(store: Store) -> None:
    with pytest.raises(TypeError, match="do not match"):
        store.write(Transaction(rows=(BoundStatement(leases._ACQUIRE, {"name": "x"}),)))


def test_a_closed_store_reconnects_when_used(store: Store) -> None:
    store.close()

    assert store.write(Transaction(rows=(event("x"),)))
    assert count_rows(store, "valetkey_audit") == 1


def test_an_unreachable_database_is_reported_in_a_sentence() -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/no/such.db"):
        store = open_store(url)
        with pytest.raises(StoreUnavailable, match=r"cannot be reached|no database at") as error:
            store.write(Transaction(rows=(event("x"),)))
        assert not error.value.may_be_written
        with pytest.raises(StoreUnavailable, match=r"cannot be reached|no database at"):
            accounts.list_all(store)
        store.close()
