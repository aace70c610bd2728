"""PostgreSQL behind PgBouncer, in each of its modes, and the errors that a pooler causes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Barrier

import click
import psycopg
import pytest
from sqlalchemy import text

from tests.support.database import execute, fetch_rows
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgreSQLServer
from tests.support.store_assertions import count_rows
from valetkey.activity.audit import audit_statement
from valetkey.cli.app_loading import with_runtime
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.postgresql import PostgresqlDriver, find_pool_mode
from valetkey.storage.engine.statement import BoundStatement, Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreBusy, StoreUnavailable, Transaction
from valetkey.storage.schema import HEAD_REVISION, check_schema, schema_version, upgrade_schema

NOW = 1_800_000_000.0
SELECT_TIMEOUTS = Statement(
    text(
        "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
        "current_setting('idle_in_transaction_session_timeout')"
    )
)
SLEEP = Statement(text("SELECT pg_sleep(0.3)"))
RAISE_ONCE = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('attempts') <= 2 THEN RAISE 'not now' USING ERRCODE = '{code}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON valetkey_audit FOR EACH ROW EXECUTE FUNCTION fail();
"""


def event(detail: str = "x") -> BoundStatement:
    return audit_statement("token.revoked", NOW, detail=detail)


def use_concurrently(stores: list[Store], rounds: int = 12) -> None:
    """Read and write with each store at the same time, often enough for statements to be prepared."""
    start = Barrier(len(stores))

    def use(store: Store) -> None:
        start.wait()
        for _ in range(rounds):
            assert store.write(Transaction(rows=(event(), event())))
            assert schema_version(store) == HEAD_REVISION

    with ThreadPoolExecutor(len(stores)) as threads:
        list(threads.map(use, stores))


@contextmanager
def opened(url: str, number: int = 6, *, pooler: str = "auto") -> Iterator[list[Store]]:
    """Context manager that opens several stores, as processes do, and closes them."""
    stores = [open_store(url, pooler=pooler) for _ in range(number)]
    try:
        yield stores
    finally:
        for store in stores:
            store.close()


@pytest.fixture
def empty_url(postgresql_url: str, pgbouncer: PgBouncer) -> str:
    """The URL of an empty database, through PgBouncer in transaction mode."""
    return pgbouncer.url(postgresql_url)


@pytest.mark.parametrize("pooler", ["auto", "transaction"])
def test_in_transaction_mode_more_processes_than_sessions_read_and_write(pooler: str, empty_url: str) -> None:
    upgrade_schema(empty_url)
    with opened(empty_url, pooler=pooler) as stores:
        use_concurrently(stores)

        assert count_rows(stores[0], "valetkey_audit") == 6 * 12 * 2


def test_in_transaction_mode_nothing_is_left_in_a_session_of_the_database(empty_url: str) -> None:
    upgrade_schema(empty_url)
    with opened(empty_url) as stores:
        use_concurrently(stores)
        assert stores[0].fetch_one(SELECT_TIMEOUTS()) == ("4s", "2s", "5s")

    with psycopg.connect(empty_url, prepare_threshold=None) as raw:
        query = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        assert raw.execute(query).fetchone() == ("0", "0")
        assert raw.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@pytest.mark.parametrize("pooler", ["auto", "transaction"])
def test_statements_of_a_command_may_take_two_minutes(
    pooler: str, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valetkey.storage.engine.psycopg_timeout.ANSWER_TIMEOUT_S", 0.2)
    with opened(postgresql_url, 2, pooler=pooler) as (of_request, of_command):
        of_command.fetch_one(SELECT_TIMEOUTS())
        of_command.allow_slow_statements()

        assert of_command.fetch_one(SELECT_TIMEOUTS()) == ("2min", "2s", "5s")
        of_command.fetch_all(SLEEP())
        with pytest.raises(StoreUnavailable, match=r"no response within 0\.2 s"):
            of_request.fetch_all(SLEEP())


def test_a_command_allows_slow_statements(postgresql_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALETKEY_DATABASE_URL", postgresql_store_url)
    monkeypatch.setenv("VALETKEY_EMBEDDED_WORKER", "false")
    timeouts: list[object] = []
    command = click.command()(with_runtime(lambda runtime: timeouts.append(runtime.store.fetch_one(SELECT_TIMEOUTS()))))

    with click.Context(command, obj={}) as context:
        command.invoke(context)

    assert timeouts == [("2min", "2s", "5s")]


def test_in_transaction_mode_a_write_waits_for_a_lock_no_longer_than_two_seconds(empty_url: str) -> None:
    upgrade_schema(empty_url)
    with opened(empty_url, 1) as (store,), psycopg.connect(empty_url) as other:
        other.execute("LOCK TABLE valetkey_audit")

        with pytest.raises(StoreBusy, match="lock timeout"):
            store.write(Transaction(rows=(event(),)))


@pytest.mark.parametrize("pooler", ["auto", "session", "transaction"])
def test_in_session_mode_each_setting_works(pooler: str, postgresql: PostgreSQLServer, postgresql_url: str) -> None:
    with PgBouncer(postgresql.port, pool_mode="session", pool_size=20) as session_pooler:
        url = session_pooler.url(postgresql_url)
        upgrade_schema(url)
        with opened(url, 3, pooler=pooler) as stores:
            use_concurrently(stores)

            assert stores[0].fetch_one(SELECT_TIMEOUTS()) == ("4s", "2s", "5s")


def test_with_the_wrong_setting_errors_of_prepared_statements_are_retried_or_unavailable(empty_url: str) -> None:
    upgrade_schema(empty_url)
    start = Barrier(6)

    def write_often(store: Store) -> set[str]:
        start.wait()
        return {write(store) for _ in range(12)}

    def write(store: Store) -> str:
        try:
            return "written" if store.write(Transaction(rows=(event(), event()))) else "refused"
        except StoreUnavailable:
            return "unavailable"

    with opened(empty_url, pooler="session") as stores, ThreadPoolExecutor(6) as threads:
        outcomes = set().union(*threads.map(write_often, stores))

    assert "written" in outcomes
    assert outcomes <= {"written", "unavailable"}


def test_no_two_connections_give_a_prepared_statement_the_same_name(postgresql_url: str) -> None:
    """Behind a pooler that is not known, one would run the statement of the other."""
    driver = PostgresqlDriver(postgresql_url)
    with closing(driver.connect()) as first, closing(driver.connect()) as second:
        names = []
        for connection in (first.raw, second.raw):
            connection.execute("SELECT 1", prepare=True)
            names += connection.execute("SELECT name FROM pg_prepared_statements", prepare=False).fetchall()

    assert len(set(names)) == 2


def test_statement_mode_is_refused_in_a_sentence(postgresql: PostgreSQLServer, postgresql_url: str) -> None:
    upgrade_schema(postgresql_url)
    with PgBouncer(postgresql.port, pool_mode="statement") as pooler, opened(pooler.url(postgresql_url), 1) as (store,):
        with pytest.raises(StoreUnavailable, match="statement pooling"):
            store.write(Transaction(rows=(event(),)))
        with pytest.raises(StoreUnavailable, match="statement pooling"):
            find_pool_mode(pooler.url(postgresql_url))


def test_the_mode_of_the_pooler_is_found(
    postgresql: PostgreSQLServer, postgresql_url: str, pgbouncer: PgBouncer
) -> None:
    assert find_pool_mode(postgresql_url) is None
    assert find_pool_mode(pgbouncer.url(postgresql_url)) == "transaction"
    with PgBouncer(postgresql.port, pool_mode="session") as session_pooler:
        assert find_pool_mode(session_pooler.url(postgresql_url)) == "unknown"


@pytest.mark.parametrize("code", ["40001", "26000", "42P05", "0A000"])
def test_a_transaction_that_the_database_rolled_back_is_run_again(code: str, postgresql_url: str) -> None:
    """Serialization failures; prepared statements that do not exist, exist already, or are for an older table."""
    upgrade_schema(postgresql_url)
    execute(postgresql_url, RAISE_ONCE.format(code=code))
    with closing(open_store(postgresql_url)) as store:
        assert store.write(Transaction(rows=(event(), event())))

        assert count_rows(store, "valetkey_audit") == 2


def test_a_read_is_repeated_after_its_prepared_statement_was_lost(postgresql_url: str) -> None:
    upgrade_schema(postgresql_url)
    with closing(open_store(postgresql_url)) as store:
        for _ in range(10):
            check_schema(store)
        execute(postgresql_url, "ALTER TABLE valetkey_schema ALTER COLUMN version_num TYPE text")

        check_schema(store)


def test_transactions_read_what_was_committed_whatever_the_default_of_the_database_is(postgresql_url: str) -> None:
    upgrade_schema(postgresql_url)
    name = postgresql_url.rpartition("/")[2]
    execute(postgresql_url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with closing(open_store(postgresql_url)) as store:
        isolation = Statement(text("UPDATE valetkey_schema SET version_num = current_setting('transaction_isolation')"))
        store.write(Transaction(rows=(isolation(),)))

        assert fetch_rows(postgresql_url, "SELECT version_num FROM valetkey_schema") == [("read committed",)]


def test_a_process_opens_no_more_connections_than_its_setting_allows(postgresql_url: str) -> None:
    upgrade_schema(postgresql_url)
    with closing(open_store(postgresql_url, max_connections=4)) as store:
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(lambda _: store.fetch_one(SLEEP()), range(12)))
        store.write(Transaction(rows=(event(),)))

        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert fetch_rows(postgresql_url, query) == [(4,)]


def test_a_read_that_gets_no_connection_within_two_seconds_is_refused_with_the_settings_name(
    postgresql_url: str,
) -> None:
    slow = Statement(text("SELECT pg_sleep(3)"))
    with closing(open_store(postgresql_url, max_connections=2)) as store, ThreadPoolExecutor(2) as threads:
        first = threads.submit(store.fetch_one, slow())
        second = threads.submit(store.fetch_one, slow())

        errors = [str(future.exception()) for future in (first, second)]

        assert "None" in errors
        assert any("increase database_connections" in error for error in errors)


def test_reads_continue_after_the_database_refused_a_connection(postgresql_url: str) -> None:
    with closing(open_store(f"{postgresql_url}_missing", max_connections=2)) as store:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="does not exist"):
                store.fetch_one(SLEEP())
