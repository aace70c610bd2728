"""The version of the database schema, and its upgrade by Alembic to the version that this code needs."""

from __future__ import annotations

import fcntl
from pathlib import Path

from sqlalchemy import column, select, table, text

from .engine.open import sqlite_path
from .engine.postgresql import PostgresqlDriver
from .engine.statement import Statement
from .engine.store import Store
from .engine.transaction import StoreUnavailable
from .tables import SCHEMA_VERSION_TABLE

HEAD_REVISION = "0003"
_SELECT_VERSION = Statement(select(column("version_num")).select_from(table(SCHEMA_VERSION_TABLE)))
_REVISIONS = ("0001", "0002", "0003")  # oldest first; a test compares them with the migration files


def schema_version(store: Store) -> str | None:
    """Return the schema revision of the database, or ``None`` if it has no Valetkey tables.

    :raises StoreUnavailable: if the database does not respond.
    """
    try:
        row = store.fetch_one(_SELECT_VERSION())
    except StoreUnavailable as cause:
        if "no tables" in str(cause) or "does not exist" in str(cause):
            return None
        raise
    return str(row[0]) if row else None


def check_schema(store: Store) -> None:
    """Check that the database has the schema that this code needs.

    :raises StoreUnavailable: if it has an older or newer schema or no tables; the message says what to do.
    """
    version = schema_version(store)
    if version is None:
        raise StoreUnavailable("the database has no tables yet: run `valetkey init`")
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


def upgrade_schema(url: str) -> None:
    """Upgrade the schema of the database at a URL to the newest revision; a new database gets all tables.

    Several processes may call this at the same time.

    :raises StoreUnavailable: if the database cannot be reached or written, or its schema is newer than this code.
    """
    path = sqlite_path(url)
    if path is None:
        PostgresqlDriver(url).connect().close()  # raises the reason if the server cannot be reached
        _run_alembic(url)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path.with_name(path.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _run_alembic(url)
        path.chmod(0o600)
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
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
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
