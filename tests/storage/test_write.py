"""One write: the claim to win, the rows if it is won, the rows if it is lost; many writes in one commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from tests.storage.conftest import NOW
from tests.support.browser_client import count_rows
from valetkey.activity.audit import audit_statement
from valetkey.storage import accounts, clients, grants, leases
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.grants import AuthorizationCode, Grant

DIGEST = b"d" * 32


def grant(grant_id: str = "g") -> Grant:
    return Grant(grant_id, "client", "owner", "profile", "[]", NOW, None, None, NOW, NOW + 100)


def with_a_code(store: Store) -> None:
    code = AuthorizationCode(DIGEST, "g", "client", "https://a.example/", 1, None, None, NOW + 60)
    store.write(Transaction(rows=(grants.add(grant()), grants.add_code(code))))


def event(what: str) -> BoundStatement:
    return audit_statement("token.revoked", NOW, detail=what)


def test_a_write_without_a_claim_is_won(store: Store) -> None:
    assert store.write(Transaction(rows=(event("a"), event("b")))) is True
    assert count_rows(store, "valetkey_audit") == 2


def test_the_winner_writes_its_rows_and_the_loser_the_others(store: Store) -> None:
    with_a_code(store)
    write = Transaction(grants.consume_code(DIGEST, NOW), (event("won"),), else_rows=(event("lost"), event("lost")))

    assert [store.write(write), store.write(write)] == [True, False]
    assert count_rows(store, "valetkey_audit") == 3, "what a loser writes is committed too"


def test_one_of_many_at_once_wins(store: Store) -> None:
    with_a_code(store)
    start = Barrier(24)

    def claim(n: int) -> bool:
        start.wait()
        return store.write(Transaction(grants.consume_code(DIGEST, NOW), (event(f"won {n}"),), (event("lost"),)))

    with ThreadPoolExecutor(24) as pool:
        won = list(pool.map(claim, range(24)))

    assert won.count(True) == 1
    assert count_rows(store, "valetkey_audit") == 24


def test_one_wins_among_two_stores_on_one_database(store: Store, store_url: str) -> None:
    with_a_code(store)
    other = open_store(store_url)
    start = Barrier(8)

    def claim(mine: Store) -> bool:
        start.wait()
        return mine.write(Transaction(grants.consume_code(DIGEST, NOW)))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, [store, other] * 4))
    other.close()

    assert won.count(True) == 1


def test_a_claim_that_touches_nothing_is_lost(store: Store) -> None:
    assert store.write(Transaction(grants.consume_code(b"?" * 32, NOW), (event("won"),))) is False
    assert count_rows(store, "valetkey_audit") == 0


def test_a_faulty_row_undoes_the_whole_write(store: Store) -> None:
    with_a_code(store)
    faulty = Transaction(grants.consume_code(DIGEST, NOW), (event("won"), grants.add(grant())))  # the same key twice

    with pytest.raises(Exception, match=r"(?i)unique"):
        store.write(faulty)

    assert count_rows(store, "valetkey_audit") == 0
    assert store.write(Transaction(grants.consume_code(DIGEST, NOW))) is True, "the claim was given back"


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        Event().wait(0.001)


def test_one_faulty_write_does_not_stop_those_that_share_its_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(Transaction(rows=(clients.add("taken", "web", {}, NOW),)))
    start = Barrier(17)

    def write(n: int) -> str:
        start.wait()
        row = clients.add("taken" if n == 8 else f"client {n}", "web", {}, NOW)
        try:
            store.write(Transaction(rows=(row, event("with it"))))
        except Exception as problem:
            return type(problem).__name__
        return "written"

    commit = store._commit_next_batch

    def commit_when_all_wait() -> None:
        until(lambda: len(store._queue) == 17)
        commit()

    monkeypatch.setattr(store, "_commit_next_batch", commit_when_all_wait)
    with ThreadPoolExecutor(17) as pool:
        told = list(pool.map(write, range(17)))

    assert [n for n, result in enumerate(told) if result != "written"] == [8]
    assert count_rows(store, "valetkey_clients") == 1 + 16
    assert count_rows(store, "valetkey_audit") == 16


def test_nobody_whose_write_is_committed_waits_for_the_next_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they did, a thread that came back found the writer free before they woke: one write for each commit."""
    run, may_end, sizes = store._run_batch, Event(), []
    before: list[Callable[[], object]] = [
        lambda: until(lambda: len(store._queue) == 2),
        lambda: until(lambda: len(store._queue) == 1),
        lambda: may_end.wait(10),
    ]

    def watched(batch: Any) -> Any:
        sizes.append(len(batch))
        before[len(sizes) - 1]()
        return run(batch)

    monkeypatch.setattr(store, "_run_batch", watched)
    with ThreadPoolExecutor(4) as pool:
        written = []
        for commits_begun in (0, 1, 1, 2):
            until(lambda so_many=commits_begun: len(sizes) == so_many)  # type: ignore[misc]
            written.append(pool.submit(store.write, Transaction(rows=(event("x"),))))
        until(lambda: len(sizes) == 3)
        assert [one.result(timeout=5) for one in written[:3]] == [True] * 3
        may_end.set()
        assert written[3].result(timeout=5)
    assert sizes == [1, 2, 1]


def test_what_was_written_is_there_for_another_connection(store: Store, store_url: str) -> None:
    store.write(Transaction(accounts.add("sub", "a@example.org", "A", None, NOW)))
    other = open_store(store_url)

    assert accounts.find(other, "sub") is not None
    other.close()


def test_a_reader_sees_each_write_that_came_before(store: Store) -> None:
    """A reader that kept a snapshot open would not."""
    for n in range(5):
        store.write(Transaction(rows=(event("x"),)))
        assert count_rows(store, "valetkey_audit") == n + 1


def test_the_same_lease_is_held_by_one_until_it_ends(store: Store) -> None:
    def hold(who: str, now: float) -> bool:
        return store.write(Transaction(leases.acquire("worker", who, now, now + 15)))

    assert hold("one", NOW)
    assert not hold("other", NOW + 14)
    assert hold("one", NOW + 14), "its holder may stay"
    assert not hold("other", NOW + 20)
    assert hold("other", NOW + 30)


def test_values_that_do_not_fit_a_statement_are_a_programmers_mistake(store: Store) -> None:
    with pytest.raises(TypeError, match="do not fit"):
        store.write(Transaction(rows=(BoundStatement(leases._ACQUIRE, {"name": "x"}),)))


def test_a_closed_store_opens_again(store: Store) -> None:
    store.close()

    assert store.write(Transaction(rows=(event("x"),)))
    assert count_rows(store, "valetkey_audit") == 1


def test_a_database_that_is_not_there_is_told_in_a_sentence() -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/no/such.db"):
        store = open_store(url)
        with pytest.raises(StoreUnavailable, match="cannot be"):
            store.write(Transaction(rows=(event("x"),)))
        with pytest.raises(StoreUnavailable, match="cannot be"):
            accounts.list_all(store)
        store.close()
