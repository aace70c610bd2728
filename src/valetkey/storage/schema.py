"""The version of the database schema, and its upgrade by Alembic to the version that this code needs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import column, select, table, text

from .engine.open import sqlite_path
from .engine.postgresql import PostgresqlDriver
from .engine.sqlite import make_private
from .engine.statement import Statement
from .engine.store import Store
from .engine.transaction import SCHEMA_VERSION_TABLE, DatabaseMissing, NoTables, StoreUnavailable
from .engine.use_lock import exclusive_lock, used_database
from .tables import metadata

HEAD_REVISION = "0006"
_SELECT_VERSION = Statement(select(column("version_num")).select_from(table(SCHEMA_VERSION_TABLE)))
_SELECT_SQLITE_TABLES = Statement(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
_REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
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
    :raises StoreUnavailable: if it has an older or newer schema or no tables; the message says what to do.
    """
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


def check_tables(store: Store) -> None:
    """Check that a SQLite database has all tables; a damaged or edited one may lack some.

    :raises StoreUnavailable: if tables are missing.
    """
    missing = metadata.tables.keys() - {str(row[0]) for row in store.fetch_all(_SELECT_SQLITE_TABLES())}
    if missing:
        raise StoreUnavailable(f"its tables {', '.join(sorted(missing))} are missing")


def upgrade_schema(url: str) -> None:
    """Upgrade the schema of the database at a URL to the newest revision; a new database gets all tables.

    Several processes may call this at the same time.

    :raises StoreUnavailable: if the database cannot be reached or written, or its schema is newer than this code.
    """
    path = sqlite_path(url)
    if path is None:
        PostgresqlDriver(url, pooler="transaction").connect().close()  # raises the reason if there is no server
        _run_alembic(url)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive_lock(path), used_database(path):
            make_private(path)
            _run_alembic(url)
    except OSError as cause:
        raise StoreUnavailable(
            f"the folder {path.parent} cannot be written ({cause.strerror}): "
            "set data_dir or database_url to another one"
        ) from cause


def _run_alembic(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        # A pooler would run the next transaction in a session without the statements that were prepared in this one.
        connect_args={} if sqlite_path(url) else {"prepare_threshold": None},
    )
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7261623955)"))  # one upgrade at a time
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as cause:
        raise StoreUnavailable(
            f"the database schema is newer than this version of Valetkey ({cause}): install the newer Valetkey, or "
            "restore a backup"
        ) from cause
    except DBAPIError as cause:
        raise StoreUnavailable(f"the database schema cannot be upgraded: {cause.orig}") from cause
    finally:
        engine.dispose()
