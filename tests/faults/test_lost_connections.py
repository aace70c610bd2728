"""A lost connection to PostgreSQL fails no write, and a write whose commit was requested is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text

from tests.support.postgres import PostgreSQLServer
from tests.support.store_assertions import count_rows
from valetkey.activity.audit import audit_statement
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement, Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.schema import upgrade_schema

_END_AT_COMMIT = """
CREATE SEQUENCE commits;
CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM nextval('commits'); PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER end_session AFTER INSERT ON valetkey_audit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION end_session();
"""
_CANCEL = Statement(text("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"))
_END_SESSION = Statement(text("SELECT nextval('runs'), pg_terminate_backend(pg_backend_pid())"))


@pytest.fixture
def own_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """The URL of a database of this test alone, whose sessions it may end."""
    url = postgresql.create_database(upgrade_schema)
    yield url
    postgresql.drop_database(url)


@pytest.fixture(params=["auto", "transaction"])
def store(request: pytest.FixtureRequest, own_url: str) -> Iterator[Store]:
    """A store with open connections."""
    store = open_store(own_url, pooler=request.param)
    store.write(Transaction(rows=(event(),)))
    yield store
    store.close()


def event() -> BoundStatement:
    return audit_statement("token.revoked", 1.0)


def end_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_writes_after_the_connection_was_lost_succeed_with_a_new_one(store: Store, own_url: str) -> None:
    end_sessions(own_url)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: store.write(Transaction(rows=(event(),))), range(8)))

    assert results == [True] * 8
    assert count_rows(store, "valetkey_audit") == 9


def test_a_write_whose_connection_is_lost_in_the_middle_is_run_again_once(store: Store, own_url: str) -> None:
    with psycopg.connect(own_url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE runs")

        with pytest.raises(StoreUnavailable) as error:
            store.write(Transaction(rows=(event(), _END_SESSION())))
        assert not error.value.may_be_written

        assert connection.execute("SELECT last_value FROM runs").fetchone() == (2,)
    assert count_rows(store, "valetkey_audit") == 1


def test_a_write_that_the_server_cancels_before_the_commit_was_not_written(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="cancel") as error:
        store.write(Transaction(rows=(event(), _CANCEL())))

    assert not error.value.may_be_written
    assert count_rows(store, "valetkey_audit") == 1


def test_a_write_whose_connection_is_lost_at_the_commit_is_not_repeated(store: Store, own_url: str) -> None:
    with psycopg.connect(own_url, autocommit=True) as connection:
        connection.execute(_END_AT_COMMIT)

        with pytest.raises(StoreUnavailable) as error:
            store.write(Transaction(rows=(event(),)))
        assert error.value.may_be_written

        assert connection.execute("SELECT last_value FROM commits").fetchone() == (1,)
