"""The version of the database schema, and its upgrade by Alembic to the version that this code needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, column, create_engine, event, select, table, text

from valetkey.protocol.secret import random_id

from . import change_feed, leases
from .engine.files import resolve_links
from .engine.open import sqlite_path
from .engine.postgresql import PostgresqlDriver
from .engine.postgresql_url import connection_parameters
from .engine.sqlite import make_private
from .engine.statement import Statement
from .engine.store import Store
from .engine.transaction import SCHEMA_VERSION_TABLE, DatabaseMissing, NoTables, StoreBusy, StoreUnavailable
from .engine.use_lock import exclusive_lock, used_database
from .tables import metadata

HEAD_REVISION = "0010"
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_TIMEOUT_S = 5  # for a lock that another process than an upgrade has
_SELECT_VERSION = Statement(select(column("version_num")).select_from(table(SCHEMA_VERSION_TABLE)))
_SELECT_READ_ONLY = Statement(text("SELECT current_setting('transaction_read_only')"))
_SELECT_ENCODING = Statement(text("SELECT current_setting('server_encoding')"))
_SELECT_SQLITE_TABLES = Statement(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
_REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
)  # oldest first; a test compares them with the migration files


def schema_version(store: Store) -> str | None:
    """Return the schema revision of the database, or ``None`` if it does not exist or has no Valetkey tables.

    :raises StoreUnavailable: if the database does not respond.
    """
    try:
        return _find_version(store)
    except DatabaseMissing:
        return None


def _find_version(store: Store) -> str | None:
    try:
        row = store.fetch_one(_SELECT_VERSION())
    except NoTables:
        return None
    return str(row[0]) if row else None


def check_schema(store: Store) -> None:
    """Check that the database has the schema that this code needs.

    Nothing is created.

    :raises DatabaseMissing: if there is no database; the message says where.
    :raises StoreUnavailable: if it has an older or newer schema or no tables, or is a PostgreSQL database that is not
        UTF-8; the message says what to do.
    """
    _check_encoding(store)
    version = _find_version(store)
    if version is None:
        raise NoTables("the database has no tables yet: run `valetkey init`")
    if version == HEAD_REVISION:
        return
    if version in _REVISIONS:
        raise StoreUnavailable(
            f"the database schema is older ({version}) than this version of Valetkey needs ({HEAD_REVISION}): "
            "run `valetkey db upgrade`"
        )
    raise StoreUnavailable(
        f"the database schema is newer ({version}) than this version of Valetkey supports ({HEAD_REVISION}): "
        "install the newer Valetkey, or restore a backup"
    )


def _check_encoding(store: Store) -> None:
    """Check that a PostgreSQL database can store every character of names and texts.

    :raises StoreUnavailable: if its encoding is not UTF-8, or it does not respond.
    """
    row = store.fetch_one(_SELECT_ENCODING()) if store.dialect == "postgresql" else None
    if row and row[0] != "UTF8":
        raise StoreUnavailable(
            f"the encoding of the PostgreSQL database is {row[0]}, not UTF8: create one with "
            "CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8', and name it in database_url"
        )


def check_not_read_only(store: Store) -> None:
    """Check that a PostgreSQL database is not read-only, as a standby is. Nothing is written.

    :raises StoreUnavailable: if it is, or does not respond.
    """
    if store.dialect == "postgresql" and store.fetch_all(_SELECT_READ_ONLY()) == [("on",)]:
        raise StoreUnavailable(
            "the PostgreSQL database is read-only: name the primary server in database_url, or all servers, as in "
            "postgresql://user@/name?host=a,b&port=5432,5432; or switch default_transaction_read_only off"
        )


def check_writable(store: Store) -> None:
    """Check that the database can be written, by writing a row that nothing reads: a full disk still answers reads.

    :raises StoreUnavailable: if it cannot be written, or does not respond.
    """
    check_not_read_only(store)
    store.write_all(leases.acquire("write check", random_id(), 0))


def check_tables(store: Store) -> None:
    """Check that a SQLite database has all tables; a damaged or edited one may lack some.

    :raises StoreUnavailable: if tables are missing.
    """
    missing = metadata.tables.keys() - {str(row[0]) for row in store.fetch_all(_SELECT_SQLITE_TABLES())}
    if missing:
        raise StoreUnavailable(f"its tables {', '.join(sorted(missing))} are missing")


def upgrade_schema(url: str) -> None:
    """Upgrade the schema of the database at a URL to the newest revision; a new database gets all tables.

    Rows of the change feed that were restored from another PostgreSQL server get transaction ids of this one.

    Several processes may call this at the same time. It is one transaction: if it is interrupted, the database is as it
    was before.

    :raises StoreBusy: if another transaction has locked the database or one of its tables for several seconds.
    :raises StoreUnavailable: if the database cannot be reached or written, its schema is newer than this code, or the
        installation has the migrations of another version, too.
    """
    path = sqlite_path(url)
    if path is None:
        with closing(Store(PostgresqlDriver(url, pooler="transaction"))) as store:  # says why if there is no server
            _check_encoding(store)
        _run_alembic(url)
        return
    database = resolve_links(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive_lock(database), used_database(database):
            make_private(database)
            _run_alembic(url)
    except OSError as cause:
        raise StoreUnavailable(
            f"the folder {database.parent} cannot be written ({cause.strerror}): "
            "run this as the user of the server, or set data_dir or database_url to another one"
        ) from cause


def _run_alembic(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    _check_migration_files(_MIGRATIONS / "versions")
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    engine = _sqlite_engine(url) if sqlite_path(url) else _postgresql_engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7261623955)"))  # one upgrade at a time
                # Requests that need a table queue behind an upgrade that waits for its lock.
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if engine.dialect.name == "postgresql":
                connection.execute(change_feed.RENUMBER_RESTORED_ROWS)
    except CommandError as cause:
        raise StoreUnavailable(
            f"the database schema is newer than this version of Valetkey ({cause}): install the newer Valetkey, or "
            "restore a backup"
        ) from cause
    except DBAPIError as cause:
        if _is_lock_timeout(cause.orig):
            raise StoreBusy(
                f"the database schema is not upgraded, because another process has locked it for {_LOCK_TIMEOUT_S} "
                "seconds: stop servers and backups that use the database, then run this again"
            ) from cause
        raise StoreUnavailable(f"the database schema cannot be upgraded: {cause.orig}") from cause
    finally:
        engine.dispose()


def _check_migration_files(folder: Path) -> None:
    """Check that the installation has the migrations of this version, and no files that another version has left.

    :raises StoreUnavailable: if it has others, more or fewer.
    """
    revisions = tuple(path.name.partition("_")[0] for path in sorted(folder.glob("*.py")))
    if revisions != _REVISIONS:
        raise StoreUnavailable(
            f"the installation has files of two versions of Valetkey (migrations in {folder}): "
            "install Valetkey in a new virtual environment"
        )


def _sqlite_engine(url: str) -> Engine:
    """Return an engine for SQLite whose transactions include statements that change the schema.

    Python's ``sqlite3`` begins a transaction only before a statement that changes rows, so that each ``CREATE TABLE``
    would be committed at once. See "Serializable isolation / Savepoints / Transactional DDL" in SQLAlchemy's manual.
    """
    engine = create_engine(url, connect_args={"timeout": _LOCK_TIMEOUT_S, "isolation_level": None})

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "begin", begin)
    return engine


def _postgresql_engine(url: str) -> Engine:
    """Return an engine for PostgreSQL that prepares no statements.

    A pooler would run the next transaction in a session without the statements that were prepared in this one.
    """
    parameters = connection_parameters(url)
    return create_engine("postgresql+psycopg://", connect_args={**parameters, "prepare_threshold": None})


def _is_lock_timeout(error: BaseException | None) -> bool:
    is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return is_busy or getattr(error, "sqlstate", None) == "55P03"  # lock_not_available
