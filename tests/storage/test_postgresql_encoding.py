"""A PostgreSQL database stores every character, or is refused with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import text

from tests.support.postgres import PostgreSQLServer
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.schema import check_schema, upgrade_schema

SELECT_TEXT = Statement(text("SELECT current_setting('client_encoding'), 'Łódź'"))


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def other_encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def other_url(postgresql: PostgreSQLServer, other_encoding: str) -> Iterator[str]:
    """The URL of an empty database that is not UTF-8."""
    name = f"test_{other_encoding.lower()}"
    with psycopg.connect(postgresql.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{other_encoding}' LOCALE 'C'")
    yield postgresql.url(name)
    postgresql.drop_database(postgresql.url(name))


def test_a_database_that_is_not_utf_8_gets_no_tables(other_url: str, other_encoding: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"is {other_encoding}, not UTF8: create one with CREATE DATABASE"):
        upgrade_schema(other_url)

    with psycopg.connect(other_url) as raw:
        assert raw.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_the_schema_check_refuses_a_database_that_is_not_utf_8(other_url: str, other_encoding: str) -> None:
    with (
        closing(open_store(other_url)) as store,
        pytest.raises(StoreUnavailable, match=f"{other_encoding}, not UTF8"),
    ):
        check_schema(store)


@pytest.mark.parametrize("pooler", ["session", "transaction"])
def test_connections_use_utf_8_whatever_the_environment_the_url_and_the_database_say(
    postgresql_url: str, pooler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgresql_url.rpartition("/")[2]
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    with closing(open_store(f"{postgresql_url}?client_encoding=LATIN1", pooler=pooler)) as store:
        assert store.fetch_one(SELECT_TEXT()) == ("UTF8", "Łódź")
