"""A ``database_url`` with several hosts: the one that can be written is used. A read-only database is reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.app import MakeApp, prepare_database
from tests.support.postgres import PostgreSQLServer
from tests.support.valetkey_server import Deployment
from valetkey.storage import change_feed, signing_keys
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.schema import check_writable, upgrade_schema


@pytest.fixture
def database_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    """The URL of a database that the test may make read-only."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


def make_read_only(url: str) -> None:
    """Make a database read-only for new connections, as it is on a standby."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = on")


def join_urls(first: str, second: str) -> str:
    """Return a URL with two hosts for databases of the same name."""
    one, two = (psycopg.conninfo.conninfo_to_dict(url) for url in (first, second))
    assert one["dbname"] == two["dbname"]
    return f"postgresql://postgres@/{one['dbname']}?host={one['host']},{two['host']}&port={one['port']},{two['port']}"


def test_of_several_hosts_the_one_that_can_be_written_is_used(
    postgresql: PostgreSQLServer, disposable_postgresql: PostgreSQLServer
) -> None:
    standby, primary = postgresql.url(), disposable_postgresql.url()
    with psycopg.connect(standby, autocommit=True) as connection:
        connection.execute("ALTER ROLE postgres IN DATABASE postgres SET default_transaction_read_only = on")
    try:
        url = join_urls(standby, primary)
        upgrade_schema(url)
        store = open_store(url)
        store.write_all(change_feed.add("changed", "x"))
        check_writable(store)

        assert [entry.subject for entry in change_feed.read(store, None).entries] == ["x"]
        assert signing_keys.list_all(store) == []
        store.close()

        store = open_store(f"{url}&target_session_attrs=any")
        with pytest.raises(StoreUnavailable):
            store.write_all(change_feed.add("changed", "x"))
        store.close()
    finally:
        with psycopg.connect(standby, autocommit=True, options="-c default_transaction_read_only=off") as connection:
            connection.execute("ALTER ROLE postgres IN DATABASE postgres RESET default_transaction_read_only")


def test_an_error_says_that_no_host_can_be_written(database_url: str) -> None:
    make_read_only(database_url)

    with pytest.raises(StoreUnavailable, match=r"\(no host responds that can be written\)"):
        upgrade_schema(join_urls(database_url, database_url))


def test_a_read_only_database_is_not_ready(
    database_url: str, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_database(database_url)
    make_read_only(database_url)
    app = make_app(database_url, readiness_path="/readyz")

    response = app.test_client().get("/readyz")

    assert (response.status_code, response.get_json()["checks"]["store"]) == (503, "failed")
    assert "the PostgreSQL database is read-only: name the primary server" in caplog.text


def test_check_reports_a_read_only_database(database_url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": database_url})
    deployment.run("init")
    make_read_only(database_url)

    with pytest.raises(AssertionError, match="Error: the PostgreSQL database is read-only: name the primary server"):
        deployment.run("check")
